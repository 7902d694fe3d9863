/** LiteRT.js behind the page's engine interface: named buffers in, named buffers out. */
import { EdgekitError } from "../core/errors.js";

const LIBRARY = new URL("../lib/litert/", import.meta.url);
const WASM = new URL("wasm/", LIBRARY);
let started = null; // once a worker; on the page's own thread a second model finds it running

/**
 * @typedef {{accelerator: "wasm" | "webgpu", threads: number, note: string}} EngineFacts
 * @typedef {{facts: EngineFacts, run: (feeds: Record<string, Float32Array>) =>
 *   Promise<Record<string, Float32Array>>, close: () => void}} Engine
 */

/**
 * Start LiteRT.js and return what opens a .tflite file with it. WebGPU falls back to wasm and several
 * threads to one, and the engine's note says so.
 *
 * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
 * @returns {Promise<(buffer: ArrayBuffer, entry: any) => Promise<Engine>>}
 */
export async function startEngine({ accelerator, threads }) {
  const library = await import(new URL("litert.js", LIBRARY).href);
  const { several, why } = await severalThreads(library, threads);
  started ??= loaded(library, several);
  try {
    await started;
  } catch (error) {
    started = null;
    throw new EdgekitError(`LiteRT.js did not start: ${error.message}`, "reload the page, or use another browser");
  }
  const cpuOptions = { numThreads: several ? threads : 1 };
  return async (buffer, entry) => {
    const bytes = new Uint8Array(buffer);
    const notes = why ? [why] : [];
    if (accelerator === "webgpu") {
      try {
        if (!library.isWebGPUSupported()) throw new Error("this browser has none");
        const engine = opened(library, await library.loadAndCompile(bytes, { accelerator: "webgpu" }), entry);
        await engine.run(zeros(entry)); // some graphics cards refuse only now
        return { ...engine, facts: { accelerator: "webgpu", threads: 1, note: "" } };
      } catch (error) {
        notes.unshift(`WebGPU is not used (${error.message}): the processor is.`);
      }
    }
    let model;
    try {
      model = await library.loadAndCompile(bytes, { accelerator: "wasm", cpuOptions });
    } catch (error) {
      throw new EdgekitError(`${entry.path} cannot be opened: ${error.message}`, "export it again");
    }
    const facts = { accelerator: "wasm", threads: cpuOptions.numThreads, note: notes.join(" ") };
    return { ...opened(library, model, entry), facts };
  };
}

function loaded(library, several) {
  // In a worker the script that is running is the worker's: LiteRT.js has to be told where its files are.
  self.Module = { locateFile: (name) => new URL(name, WASM).href };
  if (several) self.Module.mainScriptUrlOrBlob = new URL("litert_wasm_threaded_internal.js", WASM).href;
  return library.loadLiteRt(WASM.href, { threads: several });
}

async function severalThreads(library, threads) {
  if (threads < 2) return { several: false, why: "" };
  if (!self.crossOriginIsolated) return { several: false, why: "One thread: the page is not cross-origin isolated yet." };
  if (!(await library.supportsFeature("relaxedSimd"))) return { several: false, why: "One thread: this browser has no relaxed SIMD." };
  return { several: true, why: "" };
}

function zeros(entry) {
  const rows = entry.inputs.map((port) => [port.name, new Float32Array(port.shape.reduce((a, b) => a * b, 1))]);
  return Object.fromEntries(rows);
}

function opened(library, model, entry) {
  const inputs = model.getInputDetails().map((detail) => detail.name);
  const ports = Object.fromEntries(entry.inputs.map((port) => [port.name, port]));
  for (const name of inputs) {
    if (!ports[name]) throw new EdgekitError(`${entry.path} takes ${name}, which the manifest does not name`, "export it again");
  }
  return {
    async run(feeds) {
      const tensors = Object.fromEntries(
        inputs.map((name) => [name, new library.Tensor(feeds[name], ports[name].shape)]),
      );
      let results = {};
      try {
        results = await model.run(tensors);
        const outputs = {};
        for (const [name, tensor] of Object.entries(results)) outputs[name] = (await tensor.data()).slice(); // the tensor takes its memory along
        return outputs;
      } finally {
        for (const tensor of [...Object.values(tensors), ...Object.values(results)]) {
          if (!tensor.deleted) tensor.delete();
        }
      }
    },
    close: () => model.delete(),
  };
}
