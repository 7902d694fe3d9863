/** Concepts of a base: read, checked, laid into the adapter input, and blended. */
import { EdgekitError } from "./errors.js";
import { truncatedProduct } from "./svd.js";

const FORMAT = "edgekit.concept.1";
const PARTS = { norms: "F32", factors: "F16", text: "F16" };

/**
 * @typedef {{prompt: string, ranks: Record<string, number>, base_sha256: string, layout_sha256: string,
 *   norms: Float32Array, factors: Float32Array, text: Float32Array}} Concept
 */

/**
 * Read the file of a concept (safetensors with three flat tensors).
 *
 * @param {ArrayBuffer} buffer
 * @param {string} name for messages
 * @returns {Concept}
 */
export function readConcept(buffer, name = "the file") {
  const hint = "write it with `edgekit adapters add BASE RUN`, or copy it again";
  try {
    const view = new DataView(buffer);
    const length = Number(view.getBigUint64(0, true));
    if (length > buffer.byteLength - 8) throw new Error("its header is longer than the file");
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    const facts = header.__metadata__;
    if (facts.format !== FORMAT) throw new Error(`its format is ${facts.format}`);
    const parts = Object.fromEntries(
      Object.entries(PARTS).map(([part, dtype]) => [part, read(buffer, 8 + length, header[part], dtype, part)]),
    );
    return { ...facts, ranks: JSON.parse(facts.ranks), ...parts };
  } catch (error) {
    if (error instanceof EdgekitError) throw error;
    throw new EdgekitError(`${name} is not a concept of edgekit: ${error.message}`, hint);
  }
}

function read(buffer, data, entry, dtype, part) {
  const [start, end] = entry.data_offsets;
  const size = entry.shape.reduce((a, b) => a * b, 1);
  const width = dtype === "F32" ? 4 : 2;
  if (entry.dtype !== dtype || end - start !== size * width || data + end > buffer.byteLength) {
    throw new Error(`its part '${part}' is cut short or of another type`);
  }
  const bytes = buffer.slice(data + start, data + end);
  const values = dtype === "F32" ? new Float32Array(bytes) : fromHalf(new Uint16Array(bytes));
  if (!values.every(Number.isFinite)) throw new Error(`its part '${part}' holds values that are not finite`);
  return values;
}

/**
 * Widen IEEE half-precision numbers.
 *
 * @param {Uint16Array} bits
 * @returns {Float32Array}
 */
export function fromHalf(bits) {
  return Float32Array.from(bits, (h) => {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 0x1f;
    const fraction = h & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** Return how many rows of a block the file of a concept with these ranks holds. */
function rowsHeld(block, ranks) {
  return block.group ? Math.min(ranks[block.group] ?? 0, block.most) : block.rows;
}

/** Throw unless `concept` can be loaded into the base that `entry` describes. */
export function checkConcept(concept, entry, name = concept.prompt) {
  if (concept.base_sha256 !== entry.base_sha256) {
    throw new EdgekitError(
      `${name} belongs to base ${concept.base_sha256.slice(0, 12)}, this one is ${entry.base_sha256.slice(0, 12)}`,
      "use the base that it was trained on, or distil the concept again",
    );
  }
  if (concept.layout_sha256 !== entry.layout_sha256) {
    throw new EdgekitError(`${name} has its values in another order than this base`, "add the concept again from its run");
  }
  for (const [group, rank] of Object.entries(concept.ranks)) {
    const room = entry.capacity[group] ?? 0;
    if (rank > room) {
      throw new EdgekitError(
        `${name} has rank ${rank} in ${group}, this base has room for ${room}`,
        "export the base with a larger --capacity",
      );
    }
  }
  const sizes = { norms: 0, factors: 0, text: 0 };
  for (const block of entry.blocks) sizes[block.part] += rowsHeld(block, concept.ranks) * block.columns;
  for (const [part, expected] of Object.entries(sizes)) {
    if (concept[part].length !== expected) {
      throw new EdgekitError(
        `${name} holds ${concept[part].length} values of ${part}, expected ${expected}`,
        "add the concept again from its run",
      );
    }
  }
}

/** Return block name -> the concept's values of it, without copying. */
function blocksOf(concept, entry) {
  const at = { norms: 0, factors: 0, text: 0 };
  const found = new Map();
  for (const block of entry.blocks) {
    const size = rowsHeld(block, concept.ranks) * block.columns;
    found.set(block.name, concept[block.part].subarray(at[block.part], at[block.part] + size));
    at[block.part] += size;
  }
  return found;
}

function filled(values, entry) {
  const vector = new Float32Array(entry.length);
  for (const block of entry.blocks) vector.set(values.get(block.name), block.offset);
  return vector;
}

/**
 * Return the adapter input of one concept: zeros where its rank is below the base's capacity.
 *
 * @param {Concept} concept
 * @param {any} entry `adapter_input` of the manifest
 * @returns {Float32Array}
 */
export function inputVector(concept, entry, name) {
  checkConcept(concept, entry, name);
  return filled(blocksOf(concept, entry), entry);
}

/**
 * Blend concepts with weights above 0; what that means stands in docs/adapters.md.
 *
 * @param {[Concept, number][]} rows
 * @param {any} entry
 * @returns {{vector: Float32Array, exact: boolean}}
 */
export function blended(rows, entry) {
  for (const [concept, weight] of rows) {
    if (!(Number.isFinite(weight) && weight > 0)) {
      throw new EdgekitError(`weight ${weight} of ${concept.prompt}`, "give each concept a weight above 0");
    }
    checkConcept(concept, entry);
  }
  const total = rows.reduce((sum, [, weight]) => sum + weight, 0);
  const held = rows.map(([concept, weight]) => ({ blocks: blocksOf(concept, entry), weight }));
  const values = new Map();
  let exact = true;
  for (const block of entry.blocks) {
    const dot = block.name.lastIndexOf(".");
    const [layer, what] = [block.name.slice(0, dot), block.name.slice(dot + 1)];
    if (block.part !== "factors") {
      const mean = new Float64Array(block.rows * block.columns);
      for (const { blocks, weight } of held) {
        blocks.get(block.name).forEach((value, i) => (mean[i] += (weight / total) * value));
      }
      values.set(block.name, Float32Array.from(mean));
    } else if (what === "A") {
      const up = entry.blocks.find((other) => other.name === `${layer}.B`);
      const downs = held.flatMap(({ blocks }) => split(blocks.get(`${layer}.A`), block.columns));
      const ups = held.flatMap(({ blocks, weight }) =>
        split(blocks.get(`${layer}.B`), up.columns).map((row) => row.map((value) => weight * value)),
      );
      const fits = downs.length <= block.rows;
      exact &&= fits;
      const [a, b] = fits ? [downs, ups] : truncatedProduct(downs, ups, block.rows);
      values.set(`${layer}.A`, joined(a));
      values.set(`${layer}.B`, joined(b));
    }
  }
  return { vector: filled(values, entry), exact };
}

function split(values, columns) {
  const rows = [];
  for (let i = 0; i < values.length; i += columns) rows.push(Float64Array.from(values.subarray(i, i + columns)));
  return rows;
}

function joined(rows) {
  const out = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    out.set(row, at);
    at += row.length;
  }
  return out;
}
