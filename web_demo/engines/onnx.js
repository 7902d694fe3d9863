/** onnxruntime-web (wasm) behind the page's engine interface. */
import { EdgekitError } from "../core/errors.js";

const LIBRARY = new URL("../lib/onnx/", import.meta.url);

/**
 * Start ONNX Runtime Web and return what opens an .onnx file with it; several threads need a page that
 * is cross-origin isolated.
 *
 * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
 * @returns {Promise<(buffer: ArrayBuffer, entry: any) => Promise<import("./litert.js").Engine>>}
 */
export async function startEngine({ accelerator, threads }) {
  const ort = await import(new URL("ort.wasm.min.mjs", LIBRARY).href);
  const used = self.crossOriginIsolated ? threads : 1; // it would take one thread and not say so
  ort.env.wasm.wasmPaths = LIBRARY.href;
  ort.env.wasm.numThreads = used;
  const notes = [];
  if (accelerator === "webgpu") notes.push("ONNX Runtime runs on the processor here: WebGPU needs the .tflite file.");
  if (used < threads) notes.push("One thread: the page is not cross-origin isolated yet.");
  const facts = { accelerator: "wasm", threads: used, note: notes.join(" ") };
  return async (buffer, entry) => ({ ...(await opened(ort, buffer, entry)), facts });
}

async function opened(ort, buffer, entry) {
  let session;
  try {
    session = await ort.InferenceSession.create(new Uint8Array(buffer), { executionProviders: ["wasm"] });
  } catch (error) {
    throw new EdgekitError(`${entry.path} cannot be opened: ${error.message}`, "export it again");
  }
  const ports = Object.fromEntries(entry.inputs.map((port) => [port.name, port]));
  return {
    async run(feeds) {
      const tensors = Object.fromEntries(
        session.inputNames.map((name) => [name, new ort.Tensor("float32", feeds[name], ports[name].shape)]),
      );
      const results = await session.run(tensors);
      const outputs = {};
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = tensor.data.slice();
        tensor.dispose();
      }
      return outputs;
    },
    close: () => session.release(),
  };
}
