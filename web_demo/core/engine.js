/** A file of a bundle in the engine of its format, and whether it computes there what it did in Python. */
import { fetched } from "./files.js";
import { tileSize } from "./manifest.js";
import { readNpz } from "./npz.js";
import { parity } from "./statistics.js";

const ENGINES = { tflite: "../engines/litert.js", onnx: "../engines/onnx.js" };
const STANDARD = { low: -1, high: 1 };

/**
 * Start the engine of a file's format and load the file.
 *
 * @param {any} bundle of openBundle
 * @param {any} entry one of its models
 * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
 * @returns {Promise<{engine: import("../engines/litert.js").Engine, startMs: number, loadMs: number}>}
 */
export async function started(bundle, entry, options) {
  const start = performance.now();
  const { startEngine } = await import(new URL(ENGINES[entry.format], import.meta.url).href);
  const [openFile, buffer] = await Promise.all([startEngine(options), fetched(bundle.folder, entry)]);
  const running = performance.now();
  const engine = await openFile(buffer, entry);
  return { engine, startMs: running - start, loadMs: performance.now() - running };
}

/** Run the golden vectors that Python wrote and compare, for values where black is -1 and white 1. */
export async function golden(bundle, entry, engine) {
  const arrays = readNpz(await fetched(bundle.folder, bundle.manifest.golden));
  const { samples } = bundle.manifest.golden;
  const found = { max_abs: 0, worst_db: Infinity, samples };
  const values = (port, i) => fromGolden(sample(arrays.get(port.name).data, i, samples), port);
  for (let i = 0; i < samples; i++) {
    const given = await engine.run(Object.fromEntries(entry.inputs.map((port) => [port.name, values(port, i)])));
    for (const port of entry.outputs) {
      const unit = 2 / (port.high - port.low);
      const { max_abs, psnr_db } = parity(values(port, i).map((x) => x * unit), given[port.name].map((x) => x * unit));
      found.max_abs = Math.max(found.max_abs, max_abs);
      found.worst_db = Math.min(found.worst_db, psnr_db);
    }
  }
  return found;
}

function sample(data, index, count) {
  const size = data.length / count;
  return data.slice(index * size, (index + 1) * size);
}

/** Golden arrays have rows behind channels, and pictures lie in [-1, 1]; return them as a port wants them. */
export function fromGolden(values, port) {
  const picture = tileSize(port) !== null;
  const scale = picture ? (port.high - port.low) / (STANDARD.high - STANDARD.low) : 1;
  const shift = picture ? port.low - STANDARD.low * scale : 0;
  const last = port.shape.length === 4 && (port.layout === "nhwc" || port.layout === "image");
  const channels = last ? port.shape[3] : 1;
  const count = values.length / channels;
  const out = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < count; i++) out[i * channels + c] = values[c * count + i] * scale + shift;
  }
  return out;
}
