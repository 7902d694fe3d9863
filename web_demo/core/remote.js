/** A model in a worker, with an editor's methods: what the page holds. */
import { EdgekitError } from "./errors.js";

/** Thrown by an edit that another one took the place of. */
export class Cancelled extends Error {}

export class RemoteEditor {
  #port;
  #stop;
  #waiting = new Map();
  #next = 0;

  constructor(port, stop) {
    this.#port = port;
    this.#stop = stop;
    port.onmessage = ({ data }) => this.#heard(data);
  }

  /**
   * Load a file of a bundle in a worker of its own; errors are sentences, and leave nothing behind.
   *
   * @param {any} bundle of openBundle
   * @param {any} entry one of its models
   * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
   * @param {{here?: boolean}} where `here` runs the model on the page's own thread, to compare
   */
  static async open(bundle, entry, options, { here = false } = {}) {
    const remote = here ? await onThisThread() : inWorker();
    try {
      const facts = await remote.#ask("open", { bundle, entry, options });
      Object.assign(remote, { bundle, entry, ...facts });
    } catch (error) {
      remote.close();
      throw error;
    }
    return remote;
  }

  /** Switch a base to concepts with weights; true unless the blend had to be cut. */
  use(weights) {
    return this.#ask("use", { weights });
  }

  /** Largest difference from the golden vectors. */
  golden() {
    return this.#ask("golden");
  }

  /** Milliseconds of `count` calls of the model on one tile. */
  repeat(count) {
    return this.#ask("repeat", { count });
  }

  /**
   * Edit the pixels of a canvas, which are handed over; returns RGBA and the milliseconds of each part.
   *
   * @param {ImageData} image
   * @param {{report?: (done: number, total: number) => void, signal?: AbortSignal}} options
   */
  edit(image, { report, signal } = {}) {
    const { width, height, data } = image;
    return this.#ask("edit", { width, height, data }, { report, signal, transfer: [data.buffer] });
  }

  /**
   * Make the mesh of a prompt, of a bundle of that form.
   *
   * @param {string} prompt
   * @param {{report?: (done: number, total: number) => void, signal?: AbortSignal}} options
   */
  make(prompt, { report, signal } = {}) {
    return this.#ask("make", { prompt }, { report, signal });
  }

  /**
   * Ask a restorer for what it does beside editing: enrol, forget, code, useCode, mark, sample (core/service.js).
   *
   * @param {string} call
   * @param {any} value
   */
  portrait(call, value) {
    return this.#ask(call, value);
  }

  /** Let go of the model and its memory; what is still asked for fails. */
  close() {
    this.#stop();
    this.#fail(new Cancelled("closed"));
  }

  #ask(call, value, { report, signal, transfer = [] } = {}) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, report, signal });
      signal?.addEventListener("abort", () => this.#waiting.has(id) && this.#port.postMessage({ cancel: id }), { once: true });
      this.#port.postMessage({ id, call, value }, transfer);
    });
  }

  #heard({ id, value, error, progress }) {
    if (id === null) return this.#fail(new EdgekitError(error.what, error.hint));
    const asked = this.#waiting.get(id);
    if (!asked) return;
    if (progress) return asked.report?.(...progress);
    this.#waiting.delete(id);
    if (!error) asked.resolve(value);
    else if (asked.signal?.aborted) asked.reject(new Cancelled());
    else asked.reject(new EdgekitError(error.what, error.hint));
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** The worker ended by itself: out of memory, or its script is missing. */
  crashed(message) {
    this.#fail(new EdgekitError(`the model's worker stopped: ${message || "no reason was given"}`, "reload the page; a smaller file needs less memory"));
  }
}

function inWorker() {
  const worker = new Worker(new URL("../worker.js", import.meta.url));
  const remote = new RemoteEditor(worker, () => worker.terminate());
  worker.onerror = (event) => remote.crashed(event.message);
  return remote;
}

async function onThisThread() {
  const { serve } = await import("./service.js");
  const { port1, port2 } = new MessageChannel();
  serve(port2);
  return new RemoteEditor(port1, () => port1.close());
}
