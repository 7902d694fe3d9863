/** One loaded model, called by messages: what the worker does, and what the page does without one. */
import { Editor } from "./editor.js";
import { EdgekitError } from "./errors.js";
import { Sculptor } from "./mesh.js";
import { overWhite, toCanvas } from "./pixels.js";
import { Portraits } from "./portrait.js";

/** What opens a bundle's files, by the form in its manifest; an editor where none is listed. */
const FORMS = { mesh: Sculptor, restorer: Portraits };

/** Let messages in that came meanwhile, at once: a timer would wait for milliseconds. */
function breath() {
  return new Promise((resume) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resume();
    };
    port2.postMessage(null);
  });
}

/**
 * Answer the messages of `port`: {id, call, value} is answered by {id, value} or {id, error}, tiles by
 * {id, progress}; {cancel: id} ends it after its next tile. Arrays in an answer are handed over, not copied.
 *
 * @param {{onmessage: any, postMessage: (message: any, transfer?: Transferable[]) => void}} port
 */
export function serve(port) {
  let editor = null;
  const cancelled = new Set();
  const reporter = (id) => async (done, total) => {
    port.postMessage({ id, progress: [done, total] });
    await breath();
    if (done < total && cancelled.delete(id)) throw new EdgekitError("it was given up");
  };
  const calls = {
    async open({ bundle, entry, options }) {
      editor = await (FORMS[bundle.manifest.form] ?? Editor).open(bundle, entry, options);
      return { engine: editor.engine.facts, startMs: editor.startMs, loadMs: editor.loadMs };
    },
    use: ({ weights }) => editor.use(weights),
    golden: () => editor.golden(),
    repeat: ({ count }) => editor.repeat(count),
    make: ({ prompt }, id) => editor.make(prompt, reporter(id)),
    forget: () => editor.forget(),
    code: () => editor.code(),
    useCode: (code) => editor.useCode(code),
    mark: ({ faces }) => editor.mark(faces),
    async enrol({ image, points }) {
      const { face, count, likeness } = await editor.enrol(overWhite(image), points);
      return { data: toCanvas(face), size: face.width, count, likeness };
    },
    async sample({ index }) {
      const { before, after, model } = await editor.sample(index);
      return { before: toCanvas(before), data: toCanvas(after), size: after.width, model };
    },
    async edit(image, id) {
      const start = performance.now();
      const photo = overWhite(image);
      const opened = performance.now() - start;
      const made = await editor.edit(photo, reporter(id));
      const end = performance.now();
      const data = toCanvas(made.photo);
      const { pre, model, post, tiles } = made;
      return { data, pre: pre + opened, model, post: post + performance.now() - end, tiles, first: editor.first, faces: made.faces ?? null, left: made.left ?? 0 };
    },
  };
  port.onmessage = async ({ data }) => {
    if ("cancel" in data) {
      cancelled.add(data.cancel);
      return;
    }
    const { id, call, value } = data;
    try {
      const found = await calls[call](value, id);
      const arrays = Object.values(found ?? {}).filter((part) => ArrayBuffer.isView(part));
      port.postMessage({ id, value: found }, arrays.map((part) => part.buffer));
    } catch (error) {
      port.postMessage({ id, error: described(error) });
    }
    cancelled.delete(id);
  };
}

function described(error) {
  if (error instanceof EdgekitError) return { what: error.what, hint: error.hint };
  return { what: `the model failed: ${error?.message ?? error}`, hint: "choose a smaller longer side or another file, or reload the page" };
}
