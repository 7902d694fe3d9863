/** LiteRT.js behind the page's engine interface: named buffers in, named buffers out. */
import { EdgekitError } from "../core/errors.js";

const LIBRARY = new URL("../lib/litert/", import.meta.url);
let loaded = null;

/**
 * @typedef {{accelerator: string, note: string, run: (feeds: Record<string, Float32Array>) =>
 *   Promise<Record<string, Float32Array>>, close: () => void}} Engine
 */

/**
 * Load a .tflite file; WebGPU falls back to wasm, and the engine's `note` says so.
 *
 * @param {ArrayBuffer} buffer
 * @param {any} entry of the manifest
 * @param {{accelerator: "wasm" | "webgpu"}} options
 * @returns {Promise<Engine>}
 */
export async function openEngine(buffer, entry, { accelerator }) {
  const library = await import(new URL("litert.js", LIBRARY).href);
  loaded ??= library.loadLiteRt(new URL("wasm/", LIBRARY).href, { threads: false });
  try {
    await loaded;
  } catch (error) {
    loaded = null;
    throw new EdgekitError(`LiteRT.js did not start: ${error.message}`, "reload the page, or use another browser");
  }
  const { model, used, note } = await compiled(library, buffer, accelerator);
  const inputs = model.getInputDetails().map((detail) => detail.name);
  const ports = Object.fromEntries(entry.inputs.map((port) => [port.name, port]));
  for (const name of inputs) {
    if (!ports[name]) throw new EdgekitError(`${entry.path} takes ${name}, which the manifest does not name`, "export it again");
  }
  return {
    accelerator: used,
    note,
    async run(feeds) {
      const tensors = Object.fromEntries(
        inputs.map((name) => [name, new library.Tensor(feeds[name], ports[name].shape)]),
      );
      let results = {};
      try {
        results = await model.run(tensors);
        const outputs = {};
        for (const [name, tensor] of Object.entries(results)) outputs[name] = Float32Array.from(await tensor.data());
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

async function compiled(library, buffer, accelerator) {
  const bytes = new Uint8Array(buffer);
  if (accelerator === "webgpu") {
    try {
      if (!library.isWebGPUSupported()) throw new Error("this browser has no WebGPU");
      return { model: await library.loadAndCompile(bytes, { accelerator: "webgpu" }), used: "webgpu", note: "" };
    } catch (error) {
      const note = `WebGPU is not used (${error.message}); the processor is.`;
      return { model: await library.loadAndCompile(bytes, { accelerator: "wasm" }), used: "wasm", note };
    }
  }
  return { model: await library.loadAndCompile(bytes, { accelerator: "wasm" }), used: "wasm", note: "" };
}
