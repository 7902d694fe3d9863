/**
 * Faces found in a photo with the nets of the site (lib/faces), as distill/faces/detect.py finds them: BlazeFace for
 * near and for far faces proposes, the mesh net places the points, looking twice and once in the mirror.
 */
import { inverse, moved } from "./align.js";
import { cutOut } from "./resample.js";

const NEAR = "face_detection_short_range";
const FAR = "face_detection_full_range";
const MESH = "face_landmark";
export const NETS = [NEAR, FAR, MESH];
const MESH_PX = 192;
const ROOM = 1.5;
const OVERLAP = 0.3;
const SURE = 0.5;
/** Points of the mesh whose mean is each of: right eye, left eye, nose, right and left corner of the mouth. */
const FIVE = [[33, 160, 158, 133, 153, 144], [362, 385, 387, 263, 373, 380], [4], [61], [291]];
const IN_MIRROR = [1, 0, 2, 4, 3];

/**
 * @typedef {(name: string, input: Float32Array) => Promise<Float32Array[]>} Run runs a net; the longest output comes first
 * @typedef {{points: [number, number][], score: number, side: number, yaw: number}} Face in the photo's pixels
 */

/**
 * Return the faces of a photo, the largest first.
 *
 * @param {import("./pixels.js").Photo} photo
 * @param {Run} run
 * @returns {Promise<Face[]>}
 */
export async function foundFaces(photo, run) {
  const faces = [];
  for (const { eyes, side } of await boxes(photo, run)) {
    const face = await meshed(photo, eyes, side, run);
    if (face.score >= SURE) faces.push(face);
  }
  faces.sort((a, b) => b.side - a.side);
  const middle = ({ points }) => [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
  return faces.filter((face, i) => faces.slice(0, i).every((other) => away(middle(face), middle(other)) > 0.4 * other.side));
}

async function boxes(photo, run) {
  const found = [...(await candidates(photo, NEAR, 0, run)), ...(await candidates(photo, NEAR, 0.5, run)), ...(await candidates(photo, FAR, 0, run))];
  found.sort((a, b) => b.logit - a.logit);
  const kept = [];
  for (const one of found) if (kept.every((other) => overlap(one.box, other.box) < OVERLAP)) kept.push(one);
  return kept.map(({ eyes, box }) => ({ eyes, side: Math.max(box[2] - box[0], box[3] - box[1]) }));
}

/** What one net proposes; `border` is the empty room left around the photo, in its longer sides. */
async function candidates(photo, net, border, run) {
  const px = net === FAR ? 192 : 128;
  const side = Math.max(photo.width, photo.height) * (1 + border);
  const scale = px / side;
  const offset = [(side - photo.width) / 2, (side - photo.height) / 2];
  const seen = cutOut(photo, [scale, 0, offset[0] * scale, 0, scale, offset[1] * scale], px);
  const input = Float32Array.from(seen.data, (value) => value / 127.5 - 1);
  for (let y = 0; y < px; y++) {
    for (let x = 0; x < px; x++) {
      const at = [(x + 0.5) / scale, (y + 0.5) / scale];
      if (at.some((value, k) => value < offset[k] || value > side - offset[k])) input.fill(-1, (y * px + x) * 3, (y * px + x) * 3 + 3);
    }
  }
  const [values, logits] = await run(net, input);
  const centers = anchors(net);
  const found = [];
  for (let i = 0; i < logits.length; i++) {
    if (!(logits[i] > 0)) continue;
    const point = (n) => [0, 1].map((k) => (values[16 * i + 2 * n + k] / px + centers[i][k]) * side - offset[k]);
    const half = [2, 3].map((k) => ((values[16 * i + k] / px) * side) / 2);
    const [x, y] = point(0);
    found.push({ logit: logits[i], box: [x - half[0], y - half[1], x + half[0], y + half[1]], eyes: [point(2), point(3)] });
  }
  return found;
}

/** The centres, as shares of the side, that a net's outputs are relative to. */
function anchors(net) {
  const layers = net === FAR ? [[48, 1]] : [[16, 2], [8, 6]];
  return layers.flatMap(([cells, repeats]) =>
    Array.from({ length: cells * cells * repeats }, (_, i) => {
      const cell = Math.floor(i / repeats);
      return [((cell % cells) + 0.5) / cells, (Math.floor(cell / cells) + 0.5) / cells];
    }),
  );
}

async function meshed(photo, eyes, side, run) {
  let along = direction(eyes);
  let center = [0, 1].map((k) => (eyes[0][k] + eyes[1][k]) / 2 + (k ? along[0] : -along[1]) * side * 0.18);
  let points, score, yaw;
  for (let look = 0; look < 2; look++) {
    along = direction(eyes);
    const scale = MESH_PX / (side * ROOM);
    const [a, b] = [along[0] * scale, along[1] * scale];
    const matrix = [a, b, MESH_PX / 2 - a * center[0] - b * center[1], -b, a, MESH_PX / 2 + b * center[0] - a * center[1]];
    const back = inverse(matrix);
    const seen = cutOut(photo, matrix, MESH_PX);
    const found = await mesh(seen, run);
    let five = found.five;
    [score, yaw] = [found.score, found.yaw];
    if (look) {
      const other = await mesh(mirrored(seen), run);
      five = five.map((point, i) => {
        const [x, y] = other.five[IN_MIRROR[i]];
        return [(point[0] + MESH_PX - x) / 2, (point[1] + y) / 2];
      });
      yaw = (yaw - other.yaw) / 2;
    }
    points = five.map((point) => moved(back, point));
    eyes = points.slice(0, 2);
    const spans = [0, 1].map((k) => found.high[k] - found.low[k]);
    side = Math.max(...spans) / scale;
    center = moved(back, [0, 1].map((k) => (found.low[k] + found.high[k]) / 2));
  }
  return { points, score, side, yaw };
}

async function mesh(seen, run) {
  const [values, [logit]] = await run(MESH, Float32Array.from(seen.data, (value) => value / 255));
  const at = (i) => values.subarray(3 * i, 3 * i + 3);
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let i = 0; i < 468; i++) {
    for (let k = 0; k < 2; k++) {
      low[k] = Math.min(low[k], at(i)[k]);
      high[k] = Math.max(high[k], at(i)[k]);
    }
  }
  const middle = (some, k) => some.reduce((sum, i) => sum + at(i)[k], 0) / some.length;
  const across = [0, 2].map((k) => middle([454, 356], k) - middle([234, 127], k));
  return {
    five: FIVE.map((some) => [middle(some, 0), middle(some, 1)]),
    score: 1 / (1 + Math.exp(-logit)),
    yaw: (Math.atan2(across[1], across[0]) * 180) / Math.PI,
    low,
    high,
  };
}

function mirrored({ width, height, data }) {
  const out = new Uint8ClampedArray(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let k = 0; k < 3; k++) out[(y * width + x) * 3 + k] = data[(y * width + width - 1 - x) * 3 + k];
    }
  }
  return { width, height, data: out };
}

function overlap(one, two) {
  const sides = [0, 1].map((k) => Math.max(0, Math.min(one[k + 2], two[k + 2]) - Math.max(one[k], two[k])));
  const shared = sides[0] * sides[1];
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return shared / Math.max(area(one) + area(two) - shared, 1e-6);
}

function away(one, two) {
  return Math.hypot(one[0] - two[0], one[1] - two[1]);
}

function direction([right, left]) {
  const length = Math.max(away(left, right), 1e-6);
  return [(left[0] - right[0]) / length, (left[1] - right[1]) / length];
}
