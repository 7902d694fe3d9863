/** The core agrees with Python on every case of tests/golden/golden.json: `node --test web_demo/test/core.test.js`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { blended, inputVector, readConcept } from "../core/concepts.js";
import { EdgekitError } from "../core/errors.js";
import { sha256 } from "../core/files.js";
import { checkedManifest, picturePort, runnable, tileSize } from "../core/manifest.js";
import { readNpz } from "../core/npz.js";
import { limited, overWhite, toBytes, toLevels, toPort } from "../core/pixels.js";
import { parity, percentile, summary } from "../core/statistics.js";
import { axis, editTiled } from "../core/tiles.js";

const golden = JSON.parse(readFileSync(new URL("../../tests/golden/golden.json", import.meta.url)));

/** Assert that two lists of numbers are equal up to `tolerance`. */
function near(got, wanted, tolerance, what) {
  assert.equal(got.length, wanted.length, what);
  for (let i = 0; i < wanted.length; i++) {
    assert.ok(Math.abs(got[i] - wanted[i]) <= tolerance, `${what}[${i}]: ${got[i]} is not ${wanted[i]}`);
  }
}

test("a photo fills every kind of port as in Python", () => {
  const { photo, width, height, ports } = golden.pixels;
  for (const port of ports) {
    const got = toPort({ width, height, data: Uint8Array.from(photo) }, port);
    near(got, port.values, 1e-7, port.layout);
  }
});

test("what a port gave becomes the photo again", () => {
  const { photo, ports } = golden.pixels;
  for (const port of ports) assert.deepEqual([...toBytes(toLevels(Float32Array.from(port.values), port))], photo);
});

test("levels are rounded half to even and clipped", () => {
  assert.deepEqual([...toBytes(Float32Array.from(golden.pixels.levels))], golden.pixels.bytes);
  assert.deepEqual([...toBytes(Float32Array.of(NaN))], [0]);
});

test("transparent pixels lie over white", () => {
  const image = { width: 2, height: 1, data: Uint8ClampedArray.of(10, 20, 30, 0, 0, 0, 0, 128) };
  assert.deepEqual([...overWhite(image).data], [255, 255, 255, 127, 127, 127]);
});

test("tiles lie and weigh as in Python", () => {
  for (const { length, side, starts, weights } of golden.tiles.axes) {
    const got = axis(length, side);
    assert.deepEqual(got.starts, starts);
    weights.forEach((row, i) => near(got.weights[i], row, 1e-6, `${length}/${side}`));
  }
});

test("a photo of any size is edited through tiles as in Python", async () => {
  for (const row of golden.tiles.photos) {
    const editTile = (tile) =>
      Float32Array.from(tile.data, (level, i) => level * 0.75 + 8 * ((Math.floor(i / 3) % tile.width) % 4));
    const seen = [];
    const photo = { width: row.width, height: row.height, data: Uint8Array.from(row.photo) };
    const made = await editTiled(photo, editTile, [row.tile, row.tile], (done, total) => seen.push([done, total]));
    near(made.data, row.edited, 1, "photo"); // sums in another order may round the other way
    const apart = [...made.data].filter((value, i) => value !== row.edited[i]).length;
    assert.ok(apart <= row.edited.length / 100, `${apart} bytes differ`);
    assert.equal(seen.at(-1)[0], seen.at(-1)[1]);
  }
});

test("percentiles and summaries are numpy's", () => {
  for (const row of golden.statistics) {
    for (const [percent, value] of Object.entries(row.percentiles)) {
      near([percentile(row.ms, Number(percent))], [value], 1e-9, percent);
    }
    const got = summary(row.ms);
    near([got.p50_ms, got.spread, got.drift], [row.p50_ms, row.spread, row.drift], 1e-9, "summary");
    assert.equal(got.warnings.length, row.warnings);
    if (row.p90_ms === null) assert.equal(got.p90_ms, null);
    else near([got.p90_ms], [row.p90_ms], 1e-9, "p90");
  }
});

const buffer = (text) => Uint8Array.from(Buffer.from(text, "base64")).buffer;

test("a concept's file fills the adapter input as in Python", () => {
  const { entry, files, vectors } = golden.concepts;
  files.forEach((file, i) => assert.deepEqual([...inputVector(readConcept(buffer(file)), entry)], vectors[i]));
});

test("blends change each layer as in Python, also those cut to the capacity", () => {
  const { entry, files, blends } = golden.concepts;
  for (const row of blends) {
    const rows = row.weights.map((weight, i) => [readConcept(buffer(files[i])), weight]).filter(([, w]) => w);
    const { vector, exact } = blended(rows, entry);
    const held = Object.fromEntries(
      entry.blocks.map((b) => [b.name, { ...b, data: vector.subarray(b.offset, b.offset + b.rows * b.columns) }]),
    );
    assert.equal(exact, row.lost === 0);
    for (const [name, values] of Object.entries(row.plain)) near(held[name].data, values, 1e-6, name);
    for (const [layer, values] of Object.entries(row.products)) {
      const [a, b] = [held[`${layer}.A`], held[`${layer}.B`]];
      const got = [];
      for (let o = 0; o < b.columns; o++) {
        for (let i = 0; i < a.columns; i++) {
          let sum = 0;
          for (let r = 0; r < a.rows; r++) sum += b.data[r * b.columns + o] * a.data[r * a.columns + i];
          got.push(sum);
        }
      }
      near(got, values, 2e-5, layer);
    }
  }
});

test("a concept of another base or a larger rank is refused with a sentence", () => {
  const { entry, files } = golden.concepts;
  const concept = readConcept(buffer(files[0]));
  assert.throws(() => inputVector({ ...concept, base_sha256: "0".repeat(64) }, entry), /belongs to base 000000000000/);
  assert.throws(() => inputVector({ ...concept, ranks: { down: 9, up: 2 } }, entry), /rank 9 in down/);
  assert.throws(() => blended([[concept, 0]], entry), EdgekitError);
});

test("a damaged concept, or one of something else, is refused with the words of Python", () => {
  for (const { name, file, words } of golden.concepts.refused) {
    assert.throws(
      () => inputVector(readConcept(buffer(file), "night"), golden.concepts.entry),
      (error) => error instanceof EdgekitError && error.message.includes(words),
      name,
    );
  }
});

test("photos are scaled down to a longest side as in Python", () => {
  for (const row of golden.sizes) {
    assert.deepEqual(limited(row.height, row.width, row.max_side), [row.made_height, row.made_width]);
  }
});

test("pictures are compared as in Python", () => {
  for (const row of golden.parity) {
    const got = parity(Float32Array.from(row.reference), Float32Array.from(row.candidate));
    near([got.max_abs, got.psnr_db], [row.max_abs, row.psnr_db], 1e-6, "parity");
  }
  assert.ok(Number.isNaN(parity([NaN, 0], [0, 0]).max_abs));
});

test("golden vectors are read as numpy wrote them", () => {
  const got = readNpz(buffer(golden.vectors.npz));
  assert.deepEqual([...got.keys()].sort(), Object.keys(golden.vectors.arrays).sort());
  for (const [name, { shape, values }] of Object.entries(golden.vectors.arrays)) {
    assert.deepEqual(got.get(name).shape, shape);
    near(got.get(name).data, Float32Array.from(values), 0, name);
  }
  for (const { words, npz } of golden.vectors.refused) {
    assert.throws(() => readNpz(buffer(npz)), (error) => error instanceof EdgekitError && error.message.includes(words));
  }
});

test("sha256 is that of everybody", async () => {
  for (const row of golden.hashes) assert.equal(await sha256(buffer(row.bytes)), row.sha256);
});

test("the port of the picture is found, or the model is refused", () => {
  for (const { ports, adapter, sides } of golden.ports) {
    if (sides === null) assert.throws(() => picturePort(ports, adapter ?? undefined), /not from one photo to one photo/);
    else assert.deepEqual(tileSize(picturePort(ports, adapter ?? undefined)), sides);
  }
});

test("manifests are accepted and refused as everywhere", () => {
  for (const { manifest, refused } of golden.manifests) {
    if (refused === null) assert.equal(checkedManifest(manifest), manifest);
    else assert.throws(() => checkedManifest(manifest), (error) => error instanceof EdgekitError && error.message.includes(refused));
  }
});

test("the fastest file that a browser runs comes first", () => {
  const models = [["mlpackage", "int8"], ["onnx", "fp32"], ["tflite", "fp32"], ["tflite", "int8"], ["pte", "int8"]];
  const got = runnable({ models: models.map(([format, precision]) => ({ format, precision })) });
  assert.deepEqual(got.map((entry) => `${entry.format} ${entry.precision}`), ["tflite int8", "tflite fp32", "onnx fp32"]);
});

test("a model that is not from photo to photo is named with its ports", () => {
  assert.throws(() => picturePort([{ name: "text", shape: [1, 256], layout: "flat" }]), /text \[1,256\]/);
});
