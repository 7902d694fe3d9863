/** Prompt to mesh agrees with Python on every case of tests/golden/mesh.json: `node --test web_demo/test/mesh.test.js`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { EdgekitError } from "../core/errors.js";
import { AMBIENT, DIFFUSE, DISTANCE, lightFrom, worldToClip } from "../core/mesh_camera.js";
import { CASES, EDGES, extracted, TETRAHEDRA, VALUES } from "../core/mesh_extract.js";
import { featuresAt, latticeFeatures, toPlanes } from "../core/mesh_field.js";
import { glb, linear } from "../core/mesh_glb.js";
import { vertexNormals, withoutCrumbs } from "../core/mesh_surface.js";
import { readWords, textOf } from "../core/mesh_words.js";

const golden = JSON.parse(readFileSync(new URL("../../tests/golden/mesh.json", import.meta.url)));
const buffer = (text) => Uint8Array.from(Buffer.from(text, "base64")).buffer;

/** Assert that two lists of numbers are equal up to `tolerance`. */
function near(got, wanted, tolerance, what) {
  assert.equal(got.length, wanted.length, what);
  for (let i = 0; i < wanted.length; i++) {
    assert.ok(Math.abs(got[i] - wanted[i]) <= tolerance, `${what}[${i}]: ${got[i]} is not ${wanted[i]}`);
  }
}

function toyField() {
  const { distance, deformation } = golden.surface;
  const field = new Float32Array(distance.length * VALUES);
  distance.forEach((value, n) => field.set([value, ...deformation.slice(3 * n, 3 * n + 3)], n * VALUES));
  return field;
}

test("the tables of marching tetrahedra are Python's", () => {
  assert.deepEqual({ tetrahedra: TETRAHEDRA, edges: EDGES, cases: CASES }, golden.tables);
});

test("prompts become the rows that Python looks up", () => {
  const words = readWords(buffer(golden.words.file));
  for (const { prompt, values } of golden.words.prompts) near(textOf(prompt, words), Float32Array.from(values), 0, prompt);
});

test("prompts that say nothing, or what nobody knows, are refused with Python's sentences", () => {
  const words = readWords(buffer(golden.words.file));
  for (const { prompt, what, hint } of golden.words.refused) {
    assert.throws(() => textOf(prompt, words), (error) => {
      assert.ok(error instanceof EdgekitError);
      assert.deepEqual([error.what, error.hint], [what, hint]);
      return true;
    });
  }
});

test("a damaged table of words is refused", () => {
  for (const file of golden.words.damaged) assert.throws(() => readWords(buffer(file)), EdgekitError);
});

test("planes of either layout give Python's features, on a lattice in chunks and at any point", () => {
  const { side, channels, cells, points } = golden.planes;
  for (const layout of ["nchw", "nhwc"]) {
    const shape = layout === "nchw" ? [1, 3 * channels, side, side] : [1, side, side, 3 * channels];
    const planes = toPlanes(Float32Array.from(golden.planes[layout]), { shape, layout });
    const fill = latticeFeatures(planes, cells);
    const total = (cells + 1) ** 3;
    const found = new Float32Array(total * channels);
    for (let start = 0; start < total; start += 10) {
      const end = Math.min(total, start + 10);
      fill(start, end, found.subarray(start * channels, end * channels));
    }
    near(found, golden.planes.lattice, 1e-5, layout);
    near(featuresAt(planes, Float32Array.from(points)), golden.planes.features, 1e-5, `${layout} points`);
  }
});

test("the surface has Python's vertices and triangles, in its order", () => {
  const { cells, deform, positions, triangles } = golden.surface;
  const found = extracted(toyField(), cells, deform);
  assert.deepEqual([...found.triangles], triangles);
  near(found.positions, positions, 1e-6, "positions");
});

test("a crumb and a hollow are dropped, and normals are Python's", () => {
  const { cells, deform, cleaned } = golden.surface;
  const found = withoutCrumbs(extracted(toyField(), cells, deform));
  assert.deepEqual([...found.triangles], cleaned.triangles);
  near(found.positions, cleaned.positions, 1e-6, "positions");
  near(vertexNormals(found), cleaned.normals, 1e-5, "normals");
});

test("a field without an inside gives no triangle, one with a NaN is refused", () => {
  const field = new Float32Array(5 ** 3 * VALUES).fill(1);
  assert.equal(extracted(field, 4, 1).triangles.length, 0);
  field[7] = NaN;
  assert.throws(() => extracted(field, 4, 1), /no numbers/);
});

test("the camera and its light are those of the renders", () => {
  const { point, ambient, diffuse, views } = golden.cameras;
  assert.deepEqual([AMBIENT, DIFFUSE], [ambient, diffuse]);
  for (const { yaw, pitch, seen, light } of views) {
    const matrix = worldToClip({ yaw, pitch, distance: DISTANCE });
    const clip = [0, 1, 2, 3].map((row) => matrix[row] * point[0] + matrix[4 + row] * point[1] + matrix[8 + row] * point[2] + matrix[12 + row]);
    near([clip[0] / clip[3], clip[1] / clip[3]], seen, 1e-5, "seen");
    assert.ok(Math.abs(clip[2] / clip[3]) < 1);
    near(lightFrom({ yaw, pitch }), light, 1e-6, "light");
  }
});

test("a GLB holds what glTF says: chunks, lengths, bounds, linear colours", () => {
  const positions = Float32Array.of(0, 0, 0, 1, 0, 0, 0, 2, 0);
  const mesh = { positions, normals: new Float32Array(9).fill(1), colors: Float32Array.of(0, 0.5, 1, 0, 0, 0, 1, 1, 1), triangles: Uint32Array.of(0, 1, 2) };
  const view = new DataView(glb(mesh, "red cone"));
  const length = view.getUint32(12, true);
  assert.deepEqual([view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)], [0x46546c67, 2, view.byteLength]);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(view.buffer, 20, length)));
  assert.deepEqual([json.accessors[0].min, json.accessors[0].max, json.meshes[0].name], [[0, 0, 0], [1, 2, 0], "red cone"]);
  assert.equal(view.getUint32(20 + length, true), json.buffers[0].byteLength);
  const colors = 28 + length + json.bufferViews[2].byteOffset;
  assert.deepEqual([0, 2, 4, 6].map((at) => view.getUint16(colors + at, true)), [0, Math.round(linear(0.5) * 65535), 65535, 65535]);
  assert.equal(view.byteLength, 28 + length + json.buffers[0].byteLength);
});
