/** What is done to a surface before it is shown: crumbs dropped, normals found. As in runtime/mesh/surface.py. */

/** Pieces with less than this share of the largest piece's area are crumbs of the field. */
const SMALLEST_SHARE = 0.02;

/**
 * @typedef {{positions: Float32Array, triangles: Uint32Array}} Surface vertices x 3; three vertices a triangle
 */

/**
 * Drop small pieces, and hollows inside others: a field has both where it was never looked at.
 *
 * @param {Surface} surface
 * @returns {Surface}
 */
export function withoutCrumbs({ positions, triangles }) {
  const piece = pieces(positions.length / 3, triangles);
  const areas = new Map();
  const volumes = new Map();
  for (let t = 0; t < triangles.length; t += 3) {
    const name = piece[triangles[t]];
    const normal = crossed(positions, triangles, t);
    const a = 3 * triangles[t];
    const volume = normal[0] * positions[a] + normal[1] * positions[a + 1] + normal[2] * positions[a + 2];
    areas.set(name, (areas.get(name) ?? 0) + Math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2));
    volumes.set(name, (volumes.get(name) ?? 0) + volume);
  }
  const least = SMALLEST_SHARE * Math.max(0, ...areas.values());
  const kept = (corner) => areas.get(piece[corner]) >= least && volumes.get(piece[corner]) > 0;
  return compacted(positions, triangles.filter((_, i) => kept(triangles[i - (i % 3)])));
}

/** For every vertex the lowest vertex of its connected piece. */
function pieces(count, triangles) {
  const parent = Uint32Array.from({ length: count }, (_, i) => i);
  const root = (vertex) => {
    while (parent[vertex] !== vertex) vertex = parent[vertex] = parent[parent[vertex]];
    return vertex;
  };
  for (let t = 0; t < triangles.length; t += 3) {
    for (const other of [triangles[t + 1], triangles[t + 2]]) {
      const [a, b] = [root(triangles[t]), root(other)];
      parent[Math.max(a, b)] = Math.min(a, b);
    }
  }
  return parent.map((_, vertex) => root(vertex));
}

/** The normal of a triangle, as long as twice its area. */
function crossed(positions, triangles, t) {
  const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
  const [ux, uy, uz] = [positions[b] - positions[a], positions[b + 1] - positions[a + 1], positions[b + 2] - positions[a + 2]];
  const [vx, vy, vz] = [positions[c] - positions[a], positions[c + 1] - positions[a + 1], positions[c + 2] - positions[a + 2]];
  return [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
}

/** Leave out the vertices that no triangle uses. */
function compacted(positions, triangles) {
  const number = new Int32Array(positions.length / 3);
  for (const vertex of triangles) number[vertex] = 1;
  const used = [];
  for (let vertex = 0; vertex < number.length; vertex++) {
    if (number[vertex]) number[vertex] = used.push(vertex) - 1;
  }
  const kept = new Float32Array(3 * used.length);
  used.forEach((vertex, i) => kept.set(positions.subarray(3 * vertex, 3 * vertex + 3), 3 * i));
  return { positions: kept, triangles: triangles.map((vertex) => number[vertex]) };
}

/**
 * Unit normals of the vertices: the mean of their triangles, large ones counting more.
 *
 * @param {Surface} surface
 * @returns {Float32Array}
 */
export function vertexNormals({ positions, triangles }) {
  const normals = new Float32Array(positions.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const normal = crossed(positions, triangles, t);
    for (let corner = t; corner < t + 3; corner++) {
      for (let axis = 0; axis < 3; axis++) normals[3 * triangles[corner] + axis] += normal[axis];
    }
  }
  for (let n = 0; n < normals.length; n += 3) {
    const length = Math.sqrt(normals[n] ** 2 + normals[n + 1] ** 2 + normals[n + 2] ** 2);
    if (length > 1e-12) for (let axis = 0; axis < 3; axis++) normals[n + axis] /= length;
    else normals.set([0, 0, 1], n);
  }
  return normals;
}
