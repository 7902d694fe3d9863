/**
 * The surface of a field on a lattice, by marching tetrahedra: the tables and the order of vertices and
 * triangles are those of core/edgekit/core/tetrahedra.py, which says what they mean.
 */
import { EdgekitError } from "./errors.js";

export const TETRAHEDRA = [[0, 1, 3, 7], [0, 5, 1, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 6, 4, 7]];
export const EDGES = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
export const CASES = [
  [],
  [[0, 1, 2]],
  [[0, 4, 3]],
  [[1, 2, 4], [1, 4, 3]],
  [[1, 3, 5]],
  [[0, 5, 2], [0, 3, 5]],
  [[0, 5, 1], [0, 4, 5]],
  [[2, 4, 5]],
  [[2, 5, 4]],
  [[0, 1, 5], [0, 5, 4]],
  [[0, 2, 5], [0, 5, 3]],
  [[1, 5, 3]],
  [[1, 4, 2], [1, 3, 4]],
  [[0, 3, 4]],
  [[0, 2, 1]],
  [],
];
/** Least value of the distance on the lattice's border: what a model says there never opens a mesh. */
const BORDER = Math.fround(1e-3);
/** A vertex stays this share of its edge away from the ends: no triangle shrinks to nothing. */
const NEAREST = 1e-3;
/** Values a point of the lattice: signed distance, deformation along x, y and z, three colours. */
export const VALUES = 7;

/**
 * Extract the surface where the distance is 0.
 *
 * @param {Float32Array} field points of the lattice (z fastest) x `VALUES`
 * @param {number} cells a side
 * @param {number} deform largest deformation in half cells
 * @returns {{positions: Float32Array, triangles: Uint32Array}}
 */
export function extracted(field, cells, deform) {
  if (!field.every(Number.isFinite)) {
    throw new EdgekitError("the field holds values that are no numbers", "choose another file of the bundle");
  }
  const side = cells + 1;
  const offset = (corner) => ((corner & 1) * side + ((corner >> 1) & 1)) * side + (corner >> 2);
  const tetrahedra = TETRAHEDRA.map((corners) => ({
    corners: corners.map(offset),
    edges: EDGES.map(([a, b]) => {
      const lower = Math.min(corners[a], corners[b]);
      return 7 * offset(lower) + (Math.max(corners[a], corners[b]) ^ lower) - 1;
    }),
  }));
  const distance = closed(field, side);
  const inside = Uint8Array.from(distance, (value) => (value < 0 ? 1 : 0));
  const ahead = [0, 1, 2, 3, 4, 5, 6, 7].map(offset);
  const used = new Int32Array(7 * inside.length); // by an edge's number: 0, or its vertex's number and 1
  const triangles = [];
  for (let i = 0; i < cells; i++) {
    for (let j = 0; j < cells; j++) {
      for (let k = 0; k < cells; k++) {
        const cell = (i * side + j) * side + k;
        let count = 0;
        for (let c = 0; c < 8; c++) count += inside[cell + ahead[c]];
        if (count === 0 || count === 8) continue;
        for (const { corners, edges } of tetrahedra) {
          const row = inside[cell + corners[0]] | (inside[cell + corners[1]] << 1) | (inside[cell + corners[2]] << 2) | (inside[cell + corners[3]] << 3);
          for (const triangle of CASES[row]) {
            for (const edge of triangle) {
              const number = 7 * cell + edges[edge];
              used[number] = 1;
              triangles.push(number);
            }
          }
        }
      }
    }
  }
  const vertices = [];
  for (let number = 0; number < used.length; number++) {
    if (used[number]) used[number] = vertices.push(number);
  }
  return {
    positions: placed(vertices, field, distance, ahead, cells, deform),
    triangles: Uint32Array.from(triangles, (number) => used[number] - 1),
  };
}

function closed(field, side) {
  const distance = new Float32Array(side ** 3);
  const edge = (index) => index === 0 || index === side - 1;
  for (let n = 0, i = 0; i < side; i++) {
    for (let j = 0; j < side; j++) {
      for (let k = 0; k < side; k++, n++) {
        const value = field[n * VALUES];
        distance[n] = edge(i) || edge(j) || edge(k) ? Math.max(value, BORDER) : value;
      }
    }
  }
  return distance;
}

/** Where the surface cuts edges of the lattice, after both ends were moved by the deformation. */
function placed(vertices, field, distance, ahead, cells, deform) {
  const side = cells + 1;
  const positions = new Float32Array(3 * vertices.length);
  vertices.forEach((number, vertex) => {
    const lower = Math.floor(number / 7);
    const upper = lower + ahead[(number % 7) + 1];
    const share = Math.min(1 - NEAREST, Math.max(NEAREST, distance[lower] / (distance[lower] - distance[upper])));
    for (let axis = 0, stride = side * side; axis < 3; axis++, stride /= side) {
      const at = (point) => ((2 * (Math.floor(point / stride) % side) + deform * field[point * VALUES + 1 + axis]) / cells) - 1;
      const start = at(lower);
      positions[3 * vertex + axis] = start + share * (at(upper) - start);
    }
  });
  return positions;
}
