/**
 * Squares cut out of photos as Pillow does it, to the last bit: faces are cut out by it in training and by `edgekit restore`,
 * so that a model sees here what it sees there. Source: Resample.c and Geometry.c of Pillow.
 */
import { inverse, moved } from "./align.js";
import { rounded } from "./pixels.js";

const LOBES = 3;
const BITS = 22;

/**
 * Cut out the square of `size` pixels that `matrix` maps to; beyond its border the photo is mirrored. The photo is first
 * made smaller where it is finer than the square.
 *
 * @param {import("./pixels.js").Photo} photo
 * @param {import("./align.js").Matrix} matrix
 * @param {number} size
 * @returns {import("./pixels.js").Photo}
 */
export function cutOut(photo, matrix, size) {
  const back = inverse(matrix);
  const ends = [[0, 0], [size, 0], [0, size], [size, size]].map((end) => moved(back, end));
  const [left, top] = [0, 1].map((k) => Math.floor(Math.min(...ends.map((end) => end[k]))) - 2);
  const [right, bottom] = [0, 1].map((k) => Math.ceil(Math.max(...ends.map((end) => end[k]))) + 2);
  const [wide, tall] = [right - left, bottom - top];
  const scale = Math.min(1, 1 / Math.hypot(back[0], back[3]));
  const [width, height] = [wide, tall].map((length) => Math.max(2, rounded(length * scale)));
  const small = resized(photo, { left, top, wide, tall }, width, height);
  const [across, down] = [width / wide, height / tall];
  const place = [
    back[0] * across, back[1] * across, (back[2] - left) * across,
    back[3] * down, back[4] * down, (back[5] - top) * down,
  ];
  return turned(small, place, size);
}

/** The place of pixel `i` of a row of `length` pixels that is mirrored at both ends, again and again. */
function mirrored(i, length) {
  const turn = ((i % (2 * length)) + 2 * length) % (2 * length);
  return turn < length ? turn : 2 * length - 1 - turn;
}

/** Return a rectangle of the mirrored photo in another size, by a Lanczos filter. */
function resized(photo, { left, top, wide, tall }, width, height) {
  const line = 3 * width;
  const places = Int32Array.from({ length: tall }, (_, y) => mirrored(top + y, photo.height));
  const first = places.reduce((least, y) => Math.min(least, y), photo.height);
  const last = places.reduce((most, y) => Math.max(most, y), -1);
  const narrow = new Uint8Array((last + 1 - first) * line); // a row that is seen in the mirror too is made once
  const columns = Int32Array.from({ length: wide }, (_, x) => 3 * mirrored(left + x, photo.width));
  const inside = left >= 0 && left + wide <= photo.width;
  const copy = new Uint8Array(inside ? 0 : 3 * wide);
  const taps = width === wide ? null : tapsOf(wide, width);
  for (let y = first; y <= last; y++) {
    const start = 3 * photo.width * y;
    let row = copy;
    if (inside) row = photo.data.subarray(start + 3 * left, start + 3 * (left + wide));
    else gather(photo.data, start, columns, copy);
    const out = narrow.subarray((y - first) * line, (y - first + 1) * line);
    if (taps) shrink(row, taps, out);
    else out.set(row);
  }
  const data = new Uint8Array(height * line);
  if (height === tall) for (let y = 0; y < tall; y++) data.set(narrow.subarray((places[y] - first) * line, (places[y] - first + 1) * line), y * line);
  else stack(narrow, places.map((y) => y - first), line, tapsOf(tall, height), data);
  return { width, height, data };
}

function gather(data, start, columns, out) {
  for (let x = 0, to = 0; x < columns.length; x++, to += 3) {
    const at = start + columns[x];
    out[to] = data[at];
    out[to + 1] = data[at + 1];
    out[to + 2] = data[at + 2];
  }
}

/** Make each pixel of a row from its share of `row`. */
function shrink(row, { begins, counts, shares, most }, out) {
  for (let x = 0; x < counts.length; x++) {
    let [red, green, blue] = [HALF, HALF, HALF];
    let at = 3 * begins[x];
    const end = x * most + counts[x];
    for (let i = x * most; i < end; i++, at += 3) {
      const share = shares[i];
      red = (red + Math.imul(share, row[at])) | 0;
      green = (green + Math.imul(share, row[at + 1])) | 0;
      blue = (blue + Math.imul(share, row[at + 2])) | 0;
    }
    out[3 * x] = level(red);
    out[3 * x + 1] = level(green);
    out[3 * x + 2] = level(blue);
  }
}

/** Make rows of `line` values from those of `rows` that lie at `places`. */
function stack(rows, places, line, { begins, counts, shares, most }, out) {
  const sums = new Int32Array(line);
  for (let y = 0; y < counts.length; y++) {
    sums.fill(HALF);
    for (let i = 0; i < counts[y]; i++) {
      const share = shares[y * most + i];
      const start = places[begins[y] + i] * line;
      for (let x = 0; x < line; x++) sums[x] += Math.imul(share, rows[start + x]);
    }
    for (let x = 0; x < line; x++) out[y * line + x] = level(sums[x]);
  }
}

const HALF = 1 << (BITS - 1);

function level(sum) {
  const whole = sum >> BITS;
  return whole < 0 ? 0 : whole > 255 ? 255 : whole;
}

/** What each of `count` pixels takes from a row of `length`: whole numbers, as Pillow has them, `most` places for each pixel. */
function tapsOf(length, count) {
  const scale = length / count;
  const spread = Math.max(scale, 1);
  const most = 2 * Math.ceil(LOBES * spread) + 1;
  const [begins, counts, shares] = [new Int32Array(count), new Int32Array(count), new Int32Array(count * most)];
  const weights = new Float64Array(most);
  for (let i = 0; i < count; i++) {
    const center = (i + 0.5) * scale;
    begins[i] = Math.max(0, Math.trunc(center - LOBES * spread + 0.5));
    counts[i] = Math.min(length, Math.trunc(center + LOBES * spread + 0.5)) - begins[i];
    let total = 0;
    for (let k = 0; k < counts[i]; k++) {
      weights[k] = lanczos((k + begins[i] - center + 0.5) * (1 / spread));
      total += weights[k];
    }
    for (let k = 0; k < counts[i]; k++) {
      const share = (weights[k] / total) * 2 ** BITS;
      shares[i * most + k] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
  }
  return { begins, counts, shares, most };
}

function lanczos(x) {
  return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Return the square of `size` pixels whose pixel (x, y) lies at `place` of (x, y) in `photo`, by a cubic; black outside of it. */
function turned({ width, height, data }, place, size) {
  const out = new Uint8ClampedArray(3 * size * size);
  const [xs, ys, lines] = [new Int32Array(4), new Int32Array(4), new Float64Array(4)];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const u = place[0] * (x + 0.5) + place[1] * (y + 0.5) + place[2];
      const v = place[3] * (x + 0.5) + place[4] * (y + 0.5) + place[5];
      if (!(u >= 0 && u < width && v >= 0 && v < height)) continue;
      const [left, top] = [Math.floor(u - 0.5), Math.floor(v - 0.5)];
      const [dx, dy] = [u - 0.5 - left, v - 0.5 - top];
      for (let i = 0; i < 4; i++) {
        xs[i] = 3 * Math.min(Math.max(left - 1 + i, 0), width - 1);
        ys[i] = 3 * width * Math.min(Math.max(top - 1 + i, 0), height - 1);
      }
      for (let k = 0; k < 3; k++) {
        for (let j = 0; j < 4; j++) {
          const at = ys[j] + k;
          lines[j] = cubic(data[at + xs[0]], data[at + xs[1]], data[at + xs[2]], data[at + xs[3]], dx);
        }
        out[3 * (y * size + x) + k] = Math.floor(cubic(lines[0], lines[1], lines[2], lines[3], dy)); // cut off, not rounded
      }
    }
  }
  return { width: size, height: size, data: out };
}

/** The cubic through the middle two of four values. */
function cubic(one, two, three, four, part) {
  return two + part * (-one + three + part * (2 * (one - two) + three - four + part * (-one + two - three + four)));
}
