/** onnxruntime-web (wasm) behind the page's engine interface. */
import { EdgekitError } from "../core/errors.js";

const LIBRARY = new URL("../lib/onnx/", import.meta.url);

/**
 * Load an .onnx file; threads are used where the page is cross-origin isolated.
 *
 * @param {ArrayBuffer} buffer
 * @param {any} entry of the manifest
 * @param {{accelerator: string}} options
 * @returns {Promise<import("./litert.js").Engine>}
 */
export async function openEngine(buffer, entry, { accelerator }) {
  const ort = await import(new URL("ort.wasm.min.mjs", LIBRARY).href);
  ort.env.wasm.wasmPaths = LIBRARY.href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  let session;
  try {
    session = await ort.InferenceSession.create(new Uint8Array(buffer), { executionProviders: ["wasm"] });
  } catch (error) {
    throw new EdgekitError(`${entry.path} cannot be opened: ${error.message}`, "export it again");
  }
  const ports = Object.fromEntries(entry.inputs.map((port) => [port.name, port]));
  return {
    accelerator: "wasm",
    note: accelerator === "webgpu" ? "onnxruntime-web runs on the processor here; WebGPU needs the .tflite file." : "",
    async run(feeds) {
      const tensors = Object.fromEntries(
        session.inputNames.map((name) => [name, new ort.Tensor("float32", feeds[name], ports[name].shape)]),
      );
      const results = await session.run(tensors);
      const outputs = {};
      for (const [name, tensor] of Object.entries(results)) {
        outputs[name] = Float32Array.from(tensor.data);
        tensor.dispose();
      }
      return outputs;
    },
    close: () => session.release(),
  };
}
