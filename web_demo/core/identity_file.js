/** The file of an identity code, as core/edgekit/core/identity.py writes and reads it. */
import { fromHalf } from "./concepts.js";
import { EdgekitError } from "./errors.js";

const FORMAT = "edgekit.identity.1";
const MOST_BYTES = 65536;

/**
 * @typedef {{values: Float32Array, shape: [number, number], encoder_sha256: string, photos: number, threshold: number}} Code
 */

/**
 * Return the file of a code: numbers in float16, and what is needed to use them.
 *
 * @param {Code} code
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function writtenCode({ values, shape, encoder_sha256, photos, threshold }) {
  const facts = { format: FORMAT, encoder_sha256, photos: String(photos), threshold: String(threshold) };
  const entry = { dtype: "F16", shape, data_offsets: [0, 2 * values.length] };
  let text = JSON.stringify({ __metadata__: facts, code: entry });
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const bytes = new Uint8Array(8 + text.length + 2 * values.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, text.length, true);
  bytes.set(new TextEncoder().encode(text), 8);
  values.forEach((value, i) => view.setUint16(8 + text.length + 2 * i, toHalf(value), true));
  return bytes;
}

/**
 * Read a code; throws a sentence for a file that is damaged or something else.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Code}
 */
export function readCode(buffer) {
  try {
    if (buffer.byteLength > MOST_BYTES) throw new Error(`it is larger than ${MOST_BYTES} bytes`);
    const view = new DataView(buffer);
    const length = Number(view.getBigUint64(0, true));
    if (length > buffer.byteLength - 8) throw new Error("its header is longer than the file");
    const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 8, length)));
    const { __metadata__: facts, code } = header;
    if (facts.format !== FORMAT) throw new Error(`its format is ${facts.format}, this page reads ${FORMAT}`);
    const count = code.shape[0] * code.shape[1];
    if (code.dtype !== "F16" || buffer.byteLength !== 8 + length + 2 * count) throw new Error("its numbers are cut short or of another type");
    const values = fromHalf(Uint16Array.from({ length: count }, (_, i) => view.getUint16(8 + length + 2 * i, true)));
    if (!values.every(Number.isFinite)) throw new Error("it holds numbers that are not finite");
    return { values, shape: code.shape, encoder_sha256: facts.encoder_sha256, photos: Number(facts.photos), threshold: Number(facts.threshold) };
  } catch (error) {
    throw new EdgekitError(`this is not an identity code: ${error.message}`, "make one with `edgekit identity enrol`, or add photos");
  }
}

/** Round to the nearest float16, half to even. */
function toHalf(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 2 ** -14)));
  const steps = size / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const up = steps - floor > 0.5 || (steps - floor === 0.5 && floor % 2 === 1);
  const count = floor + (up ? 1 : 0); // 1024 and more are the implicit one; 2048 carries into the exponent
  const bits = exponent === -14 ? count : ((exponent + 14) << 10) + count;
  return sign | Math.min(bits, 0x7c00);
}
