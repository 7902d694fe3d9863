/** A mesh as a GLB file (glTF 2.0, binary): positions, normals, colours a vertex, triangles. */
const [FLOAT, SHORT, INT] = [5126, 5123, 5125]; // glTF's componentType: float, unsigned short, unsigned int
const [VERTICES, INDICES] = [34962, 34963]; // its bufferView.target

/** sRGB from 0 to 1 as linear light, which glTF's colours are. */
export function linear(value) {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/**
 * Write a mesh; colours are sRGB from 0 to 1.
 *
 * @param {{positions: Float32Array, normals: Float32Array, colors: Float32Array, triangles: Uint32Array}} mesh
 * @param {string} name
 * @returns {ArrayBuffer}
 */
export function glb(mesh, name) {
  const count = mesh.positions.length / 3;
  const colors = new Uint16Array(count * 4).fill(65535);
  for (let i = 0; i < count * 3; i++) {
    colors[Math.floor(i / 3) * 4 + (i % 3)] = Math.round(linear(Math.min(1, Math.max(0, mesh.colors[i]))) * 65535);
  }
  const [low, high] = bounds(mesh.positions);
  const parts = [
    { data: mesh.positions, type: "VEC3", componentType: FLOAT, target: VERTICES, more: { min: low, max: high } },
    { data: mesh.normals, type: "VEC3", componentType: FLOAT, target: VERTICES },
    { data: colors, type: "VEC4", componentType: SHORT, target: VERTICES, more: { normalized: true } },
    { data: mesh.triangles, type: "SCALAR", componentType: INT, target: INDICES },
  ];
  let length = 0;
  const views = [];
  const accessors = [];
  for (const [i, { data, type, componentType, target, more }] of parts.entries()) {
    views.push({ buffer: 0, byteOffset: length, byteLength: data.byteLength, target });
    accessors.push({ bufferView: i, componentType, type, count: type === "SCALAR" ? data.length : count, ...more });
    length += data.byteLength;
  }
  const material = { pbrMetallicRoughness: { metallicFactor: 0, roughnessFactor: 0.9 } };
  const json = {
    asset: { version: "2.0", generator: "edgekit" },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [{ mesh: 0, name }],
    meshes: [{ name, primitives: [{ attributes: { POSITION: 0, NORMAL: 1, COLOR_0: 2 }, indices: 3, material: 0 }] }],
    materials: [material],
    accessors,
    bufferViews: views,
    buffers: [{ byteLength: length }],
  };
  return joined(new TextEncoder().encode(JSON.stringify(json)), parts, length);
}

function joined(text, parts, length) {
  const padded = Math.ceil(text.length / 4) * 4;
  const file = new ArrayBuffer(12 + 8 + padded + 8 + length);
  const view = new DataView(file);
  const bytes = new Uint8Array(file);
  [0x46546c67, 2, file.byteLength, padded, 0x4e4f534a].forEach((word, i) => view.setUint32(4 * i, word, true));
  bytes.fill(0x20, 20, 20 + padded).set(text, 20);
  [length, 0x004e4942].forEach((word, i) => view.setUint32(20 + padded + 4 * i, word, true));
  let at = 28 + padded;
  for (const { data } of parts) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}

function bounds(positions) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < positions.length; i++) {
    low[i % 3] = Math.min(low[i % 3], positions[i]);
    high[i % 3] = Math.max(high[i % 3], positions[i]);
  }
  return [low, high];
}
