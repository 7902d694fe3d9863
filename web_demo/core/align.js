/** Where faces lie in photos, and how they are put back: runtime/paste.py and the squares of training, in JavaScript. */

/** Width of the soft edge of a pasted crop, as a share of its side; and cells a side on which light is compared. */
export const FEATHER = 0.15;
export const CELLS = 4;
/** Change of a face, in levels, up to which all of the photo's finer detail stays, and from which on none does. */
export const KEPT = [4, 8];

/**
 * @typedef {[number, number]} Point x and y in pixels; the centre of the first pixel is (0.5, 0.5)
 * @typedef {[number, number, number, number, number, number]} Matrix two rows of three, from the photo to the crop
 */

/**
 * Return the matrix that cuts out a face: a square turned with it, four distances of the eyes wide.
 *
 * @param {Point[]} points right eye, left eye (as seen from left to right), then nose and both corners of the mouth, or
 *   the middle of the mouth alone
 * @param {number} size side of the crop
 * @returns {Matrix}
 */
export function cropTransform(points, size) {
  const [right, left] = points;
  const mouth = points.length === 3 ? points[2] : mean([points[3], points[4]]);
  const eyes = mean([right, left]);
  const across = minus(left, right);
  const down = minus(mouth, eyes);
  const axis = [across[0] + down[1], across[1] - down[0]];
  const length = Math.max(Math.hypot(...axis), 1e-6);
  const half = Math.max(2 * Math.hypot(...across), 1.8 * Math.hypot(...down));
  const x = axis.map((value) => (value / length) * half);
  const y = [-x[1], x[0]];
  const center = [eyes[0] + 0.1 * down[0], eyes[1] + 0.1 * down[1]];
  const corner = [center[0] - x[0] - y[0], center[1] - x[1] - y[1]];
  const unit = size / (2 * half * half); // the axes are x and y, twice as long as the half side
  const turn = [x[0] * unit, x[1] * unit, y[0] * unit, y[1] * unit];
  return [
    turn[0], turn[1], -(turn[0] * corner[0] + turn[1] * corner[1]),
    turn[2], turn[3], -(turn[2] * corner[0] + turn[3] * corner[1]),
  ].map(Math.fround);
}

/** Say what cannot be in points of a face, null if nothing is wrong. */
export function disorder(points) {
  const [right, left] = points;
  const mouth = points.length === 3 ? points[2] : mean([points[3], points[4]]);
  const across = minus(left, right);
  const down = minus(mouth, mean([right, left]));
  if (Math.hypot(...across) < 1) return "both eyes are at the same place";
  if (across[0] * down[1] - across[1] * down[0] <= 0) return down[1] > 0 ? "the eyes are swapped" : "the mouth is above the eyes";
  return null;
}

/** Apply a matrix to a point. */
export function moved([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** Return the matrix of the way back, by elimination as numpy has it: scales alone have exact inverses. */
export function inverse([a, b, c, d, e, f]) {
  const upper = Math.abs(a) >= Math.abs(d);
  const [p, q, r, s] = upper ? [a, b, d, e] : [d, e, a, b];
  const factor = r / p;
  const last = s - factor * q;
  const solved = (one, two) => {
    const y = (two - factor * one) / last;
    return [(one - q * y) / p, y];
  };
  const [[g, i], [h, j]] = upper ? [solved(1, 0), solved(0, 1)] : [solved(0, 1), solved(1, 0)];
  return [g, h, -(g * c + h * f), i, j, -(i * c + j * f)];
}

/**
 * Return a copy of `photo` in which `restored` takes the place of `crop`, in the photo's light, with soft edges.
 *
 * @param {import("./pixels.js").Photo} photo
 * @param {import("./pixels.js").Photo} crop what `matrix` cut out
 * @param {import("./pixels.js").Photo} restored what became of it
 * @param {Matrix} matrix
 * @returns {import("./pixels.js").Photo}
 */
export function pasted(photo, crop, restored, matrix) {
  const size = crop.width;
  const lit = inLightOf(restored, crop);
  const kept = detailKept(lit, crop);
  const face = { width: size, height: size, data: lit.map((level, at) => level - kept * crop.data[at]) };
  const back = inverse(matrix);
  const ends = [[0, 0], [size, 0], [0, size], [size, size]].map((end) => moved(back, end));
  const [left, top] = [0, 1].map((k) => Math.max(0, Math.floor(Math.min(...ends.map((end) => end[k])))));
  const [right, bottom] = [photo.width, photo.height].map((most, k) => Math.min(most, Math.ceil(Math.max(...ends.map((end) => end[k])))));
  const steps = Math.max(1, Math.ceil(Math.hypot(matrix[0], matrix[3])));
  const data = Uint8Array.from(photo.data);
  const sum = new Float64Array(3);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      sum.fill(0);
      let weights = 0;
      for (let i = 0; i < steps * steps; i++) {
        const px = x + ((i % steps) + 0.5) / steps;
        const py = y + (Math.floor(i / steps) + 0.5) / steps;
        const u = matrix[0] * px + matrix[1] * py + matrix[2];
        const v = matrix[3] * px + matrix[4] * py + matrix[5];
        const weight = edge(u / size) * edge(v / size);
        if (weight === 0) continue;
        bilinear(face, clamp(u - 0.5, size - 1), clamp(v - 0.5, size - 1), weight, sum);
        weights += weight;
      }
      if (weights === 0) continue;
      const share = weights / (steps * steps);
      const at = (y * photo.width + x) * 3;
      for (let k = 0; k < 3; k++) {
        const mixed = photo.data[at + k] + share * (sum[k] / weights - (1 - kept) * photo.data[at + k]);
        data[at + k] = clamp(Math.floor(mixed + 0.5), 255);
      }
    }
  }
  return { width: photo.width, height: photo.height, data };
}

/** Return how much of what is finer than the crop stays, from 0 to 1: all where the face changes little. */
function detailKept(face, crop) {
  const size = crop.width;
  const edge = Math.floor(size / 8);
  let sum = 0;
  for (let y = edge; y < size - edge; y++) {
    for (let at = (y * size + edge) * 3; at < (y * size + size - edge) * 3; at++) sum += (face[at] - crop.data[at]) ** 2;
  }
  const change = Math.sqrt(sum / (3 * (size - 2 * edge) ** 2));
  return clamp((KEPT[1] - change) / (KEPT[1] - KEPT[0]), 1);
}

/** Return `restored` as floats with the light and colour of `crop`, which varies slowly. */
export function inLightOf(restored, crop) {
  const size = crop.width;
  const edges = Array.from({ length: CELLS + 1 }, (_, i) => Math.round((i * size) / CELLS));
  const means = new Float64Array(CELLS * CELLS * 3);
  for (let j = 0; j < CELLS * CELLS; j++) {
    const [i, k] = [Math.floor(j / CELLS), j % CELLS];
    const count = (edges[i + 1] - edges[i]) * (edges[k + 1] - edges[k]);
    for (let y = edges[i]; y < edges[i + 1]; y++) {
      for (let x = edges[k]; x < edges[k + 1]; x++) {
        const at = (y * size + x) * 3;
        for (let c = 0; c < 3; c++) means[3 * j + c] += (crop.data[at + c] - restored.data[at + c]) / count;
      }
    }
  }
  const place = (i) => {
    const at = clamp(((i + 0.5) * CELLS) / size - 0.5, CELLS - 1);
    const low = Math.min(Math.floor(at), CELLS - 2);
    return [low, at - low];
  };
  const out = new Float64Array(size * size * 3);
  for (let y = 0; y < size; y++) {
    const [i, b] = place(y);
    for (let x = 0; x < size; x++) {
      const [j, a] = place(x);
      for (let c = 0; c < 3; c++) {
        const at = (row, column) => means[3 * (row * CELLS + column) + c];
        const above = at(i, j) * (1 - a) + at(i, j + 1) * a;
        const below = at(i + 1, j) * (1 - a) + at(i + 1, j + 1) * a;
        const to = (y * size + x) * 3 + c;
        out[to] = restored.data[to] + above * (1 - b) + below * b;
      }
    }
  }
  return out;
}

/** 0 at the crop's edge and outside, 1 further inside than the feather, smooth between. */
function edge(share) {
  const inside = clamp(Math.min(share, 1 - share) / FEATHER, 1);
  return inside * inside * (3 - 2 * inside);
}

function bilinear(photo, u, v, weight, sum) {
  const x = Math.floor(u);
  const y = Math.floor(v);
  for (let j = 0; j < 2; j++) {
    const wy = weight * (j ? v - y : 1 - v + y);
    for (let i = 0; i < 2; i++) add(photo, x + i, y + j, wy * (i ? u - x : 1 - u + x), sum);
  }
}

function add(photo, x, y, weight, sum) {
  const at = (Math.min(y, photo.height - 1) * photo.width + Math.min(x, photo.width - 1)) * 3;
  for (let k = 0; k < 3; k++) sum[k] += weight * photo.data[at + k];
}

function clamp(value, most) {
  return value < 0 ? 0 : value > most ? most : value;
}

function mean(points) {
  return [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
}

function minus(one, two) {
  return [one[0] - two[0], one[1] - two[1]];
}
