/** A photo of any size through a model of one size: overlapping tiles, blended without a seam. */
import { cut, rounded, toBytes } from "./pixels.js";

export const OVERLAP = 0.25;
export const MARGIN = 0.0625;

/**
 * Cover `length` pixels with the fewest evenly spread tiles; at each pixel the weights sum to 1.
 *
 * @param {number} length
 * @param {number} side
 * @returns {{starts: number[], weights: Float32Array[]}}
 */
export function axis(length, side, overlap = OVERLAP, margin = MARGIN) {
  if (!(length >= side && side >= 1 && 2 * margin >= 0 && 2 * margin < overlap && overlap < 1)) {
    throw new RangeError(`no tiles of ${side} for ${length} pixels`);
  }
  const step = side - Math.ceil(side * overlap);
  const count = 1 + Math.ceil((length - side) / Math.max(step, 1));
  const starts = Array.from({ length: count }, (_, i) =>
    rounded((i * (length - side)) / Math.max(count - 1, 1)),
  );
  const raw = starts.map((start, i) =>
    window_(
      side,
      Math.trunc(side * margin),
      i ? starts[i - 1] + side - start : 0,
      i + 1 < count ? start + side - starts[i + 1] : 0,
    ),
  );
  const total = new Float64Array(length);
  starts.forEach((start, i) => raw[i].forEach((weight, x) => (total[start + x] += weight)));
  const weights = starts.map((start, i) => Float32Array.from(raw[i], (w, x) => w / total[start + x]));
  return { starts, weights };
}

function window_(side, margin, before, after) {
  const weight = new Float64Array(side).fill(1);
  const ramp = (shared, at) => {
    const rising = Math.max(shared - 2 * margin, 1);
    for (let i = 0; i < shared; i++) {
      const t = Math.min(1, Math.max(0, (i - margin + 0.5) / rising));
      weight[at(i)] = Math.min(weight[at(i)], 0.5 - 0.5 * Math.cos(Math.PI * t));
    }
  };
  if (before) ramp(before, (i) => i);
  if (after) ramp(after, (i) => side - 1 - i);
  return weight;
}

/**
 * Continue a photo by reflection until it is at least `height` x `width`.
 *
 * @param {import("./pixels.js").Photo} photo
 */
export function continued(photo, height, width) {
  if (photo.height >= height && photo.width >= width) return photo;
  const h = Math.max(photo.height, height);
  const w = Math.max(photo.width, width);
  const mirrored = (i, n) => {
    if (n === 1) return 0;
    const period = 2 * (n - 1);
    const at = i % period;
    return at < n ? at : period - at;
  };
  const data = new Uint8Array(h * w * 3);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const from = (mirrored(y, photo.height) * photo.width + mirrored(x, photo.width)) * 3;
      data.set(photo.data.subarray(from, from + 3), (y * w + x) * 3);
    }
  }
  return { width: w, height: h, data };
}

/**
 * Edit a photo of any size with a model that takes tiles of `tile` ([height, width]) pixels.
 *
 * @param {import("./pixels.js").Photo} photo
 * @param {(tile: import("./pixels.js").Photo) => Promise<Float32Array> | Float32Array} editTile gives levels
 * @param {[number, number]} tile
 * @param {(done: number, total: number) => Promise<void> | void} report
 * @returns {Promise<import("./pixels.js").Photo>}
 */
export async function editTiled(photo, editTile, tile, report = () => {}) {
  const [side, across] = tile;
  const whole = continued(photo, side, across);
  const rows = axis(whole.height, side);
  const columns = axis(whole.width, across);
  const sums = new Float32Array(whole.width * whole.height * 3);
  const total = rows.starts.length * columns.starts.length;
  let done = 0;
  for (const [i, top] of rows.starts.entries()) {
    for (const [j, left] of columns.starts.entries()) {
      const levels = await editTile(cut(whole, left, top, across, side));
      for (let y = 0; y < side; y++) {
        const weightY = rows.weights[i][y];
        for (let x = 0; x < across; x++) {
          const weight = Math.fround(weightY * columns.weights[j][x]);
          const to = ((top + y) * whole.width + left + x) * 3;
          const from = (y * across + x) * 3;
          for (let k = 0; k < 3; k++) sums[to + k] += Math.fround(levels[from + k] * weight);
        }
      }
      await report(++done, total);
    }
  }
  const made = { width: whole.width, height: whole.height, data: toBytes(sums) };
  return whole === photo ? made : cut(made, 0, 0, photo.width, photo.height);
}
