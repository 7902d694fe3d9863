/** The words that a mesh generator knows: a prompt becomes the rows of their table. */
import { EdgekitError } from "./errors.js";

/** Words without which a prompt means the same: left out where the table does not know them. */
const JOINING = new Set(["a", "an", "and", "of", "the", "with"]);

/**
 * @typedef {{words: string[], length: number, width: number, table: Float32Array}} Words
 */

/**
 * Read words.safetensors: a tensor `table` (words x width, float32), the words and the length of a prompt
 * in its metadata.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Words}
 */
export function readWords(buffer) {
  try {
    const size = Number(new DataView(buffer).getBigUint64(0, true));
    if (size > buffer.byteLength - 8) throw new Error("its header is longer than the file");
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
    const words = JSON.parse(header.__metadata__.words);
    const length = Number(header.__metadata__.length);
    const { dtype, shape, data_offsets: [start, end] } = header.table;
    if (dtype !== "F32" || shape[0] !== words.length || end - start !== 4 * shape[0] * shape[1] || 8 + size + end > buffer.byteLength) {
      throw new Error("its table is cut short or of another type");
    }
    if (!(length >= 1)) throw new Error("it gives prompts no length");
    return { words, length, width: shape[1], table: new Float32Array(buffer.slice(8 + size + start, 8 + size + end)) };
  } catch (error) {
    throw new EdgekitError(`the file of words cannot be read: ${error.message}`, "copy the bundle again");
  }
}

/** The words of a prompt: lowercase letters, split at everything else. */
export function splitPrompt(prompt) {
  return prompt.toLowerCase().match(/\p{L}+/gu) ?? [];
}

/**
 * The rows of a prompt's words in their order, then zeros. A word that is not known is refused with the nearest
 * that is, with the sentences of runtime/mesh/words.py.
 *
 * @param {string} prompt
 * @param {Words} words
 * @returns {Float32Array} length x width
 */
export function textOf(prompt, { words, length, width, table }) {
  const spoken = splitPrompt(prompt);
  const known = words.filter((word) => !JOINING.has(word)).join(", ");
  if (!spoken.length) throw new EdgekitError("the prompt is empty", `write words of these: ${known}`);
  const said = spoken.filter((word) => words.includes(word) || !JOINING.has(word));
  const strange = [...new Set(said)].filter((word) => !words.includes(word));
  if (strange.length) {
    const near = strange.map((word) => [nearest(word, words), word]).filter(([other]) => other);
    const meant = near.length ? `did you mean ${near.map(([other, word]) => `'${other}' for '${word}'`).join(" and ")}? ` : "";
    const what = `unknown ${strange.length > 1 ? "words" : "word"} ${strange.map((word) => `'${word}'`).join(", ")}`;
    throw new EdgekitError(what, `${meant}known: ${known}`);
  }
  if (said.every((word) => JOINING.has(word))) throw new EdgekitError(`'${prompt}' names nothing`, `write words of these: ${known}`);
  if (said.length > length) throw new EdgekitError(`the prompt has ${said.length} words and ${length} are read`, "say it in fewer words");
  const values = new Float32Array(length * width);
  said.forEach((word, i) => {
    const row = words.indexOf(word) * width;
    values.set(table.subarray(row, row + width), i * width);
  });
  return values;
}

/** The word that the fewest changes of letters lead to, if that leaves most of them. */
function nearest(word, words) {
  const far = words.map((other) => distance(word, other));
  const least = Math.min(...far);
  const found = words[far.indexOf(least)];
  return least <= 0.4 * Math.max(word.length, found.length) ? found : null;
}

function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}
