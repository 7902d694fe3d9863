/** What a generator's planes say about points: the sum of three bilinear samples, on a lattice or anywhere. */

/**
 * @typedef {{side: number, channels: number, data: Float32Array}} Planes
 *   xy, xz and yz, each side x side x channels: the first axis of its name, the second, the channels
 */

const AXES = [[0, 1], [0, 2], [1, 2]]; // which coordinates of a point each plane is made for

/**
 * Put what the model gave into planes with the channels last.
 *
 * @param {Float32Array} values
 * @param {{shape: number[], layout: string}} port 1 x 3C x R x R (nchw) or 1 x R x R x 3C (nhwc)
 * @returns {Planes}
 */
export function toPlanes(values, port) {
  const last = port.layout === "nhwc";
  const side = port.shape[2];
  const channels = port.shape[last ? 3 : 1] / 3;
  const area = side * side;
  const data = new Float32Array(values.length);
  for (let plane = 0; plane < 3; plane++) {
    for (let cell = 0; cell < area; cell++) {
      const to = (plane * area + cell) * channels;
      for (let c = 0; c < channels; c++) {
        const row = plane * channels + c;
        data[to + c] = last ? values[cell * 3 * channels + row] : values[row * area + cell];
      }
    }
  }
  return { side, channels, data };
}

/** Where a coordinate from -1 to 1 lies between the samples of an axis: the lower one and the share of the next. */
function between(coordinate, side) {
  const at = Math.min(side - 1, Math.max(0, ((coordinate + 1) / 2) * (side - 1)));
  const low = Math.min(side - 2, Math.floor(at));
  return [low, at - low];
}

/** Add the bilinear sample of one plane at (a, b) to `out` from `to` on. */
function add(planes, plane, a, b, out, to) {
  const { side, channels, data } = planes;
  const [i, u] = between(a, side);
  const [j, v] = between(b, side);
  const from = (plane * side * side + i * side + j) * channels;
  const next = from + side * channels;
  const weights = [(1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v];
  for (let c = 0; c < channels; c++) {
    out[to + c] += weights[0] * data[from + c] + weights[1] * data[from + channels + c]
      + weights[2] * data[next + c] + weights[3] * data[next + channels + c];
  }
}

/**
 * Features of any points.
 *
 * @param {Planes} planes
 * @param {Float32Array} points x, y, z of each
 * @returns {Float32Array} points x channels
 */
export function featuresAt(planes, points) {
  const out = new Float32Array((points.length / 3) * planes.channels);
  for (let n = 0; n < points.length / 3; n++) {
    AXES.forEach(([a, b], plane) => add(planes, plane, points[3 * n + a], points[3 * n + b], out, n * planes.channels));
  }
  return out;
}

/**
 * Features of the points of a lattice, in its order (z fastest), without looking each up in the planes: every
 * plane is brought to the lattice's resolution once, a point then is a sum of three rows.
 *
 * @param {Planes} planes
 * @param {number} cells a side
 * @returns {(start: number, end: number, out: Float32Array) => void} fills `out` with a run of points
 */
export function latticeFeatures(planes, cells) {
  const side = cells + 1;
  const { channels } = planes;
  const resized = AXES.map((_, plane) => {
    const out = new Float32Array(side * side * channels);
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) add(planes, plane, (2 * i) / cells - 1, (2 * j) / cells - 1, out, (i * side + j) * channels);
    }
    return out;
  });
  const [xy, xz, yz] = resized;
  return (start, end, out) => {
    for (let n = start; n < end; n++) {
      const k = n % side;
      const j = Math.floor(n / side) % side;
      const i = Math.floor(n / (side * side));
      const [one, two, three] = [(i * side + j) * channels, (i * side + k) * channels, (j * side + k) * channels];
      const to = (n - start) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = xy[one + c] + xz[two + c] + yz[three + c];
    }
  };
}
