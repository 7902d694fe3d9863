/** Golden vectors: an .npz as numpy's savez writes it (a zip without compression). */
import { EdgekitError } from "./errors.js";

/**
 * Read all float32 arrays.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Map<string, {shape: number[], data: Float32Array}>}
 */
export function readNpz(buffer) {
  const view = new DataView(buffer);
  const end = directoryEnd(view);
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  const found = new Map();
  for (let i = 0; i < count; i++) {
    const method = view.getUint16(at + 10, true);
    const nameLength = view.getUint16(at + 28, true);
    const extra = view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    const header = view.getUint32(at + 42, true);
    const name = new TextDecoder().decode(new Uint8Array(buffer, at + 46, nameLength));
    if (method !== 0) throw new EdgekitError(`${name} is compressed`, "export the bundle again");
    const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
    found.set(name.replace(/\.npy$/, ""), readNpy(buffer, start, name));
    at += 46 + nameLength + extra;
  }
  return found;
}

function directoryEnd(view) {
  for (let at = view.byteLength - 22; at >= 0; at--) {
    if (view.getUint32(at, true) === 0x06054b50) return at;
  }
  throw new EdgekitError("the golden vectors are cut short", "copy the bundle again");
}

function readNpy(buffer, start, name) {
  const view = new DataView(buffer);
  const version = view.getUint8(start + 6);
  const wide = version > 1;
  const length = wide ? view.getUint32(start + 8, true) : view.getUint16(start + 8, true);
  const text = start + (wide ? 12 : 10);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, text, length));
  if (!header.includes("'<f4'") || header.includes("'fortran_order': True")) {
    throw new EdgekitError(`${name} does not hold float32 in row order`, "export the bundle again");
  }
  const shape = (header.match(/'shape': \(([^)]*)\)/)?.[1] ?? "").split(",").map(Number).filter((n) => n > 0);
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: new Float32Array(buffer.slice(text + length, text + length + size * 4)) };
}
