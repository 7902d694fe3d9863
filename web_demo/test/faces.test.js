/** Faces are cut out and put back as in Python (tests/golden/faces.json): `node --test web_demo/test/faces.test.js`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { cropTransform, disorder, inverse, pasted } from "../core/align.js";
import { foundFaces } from "../core/faces.js";
import { readCode, writtenCode } from "../core/identity_file.js";
import { kindOf, Portraits } from "../core/portrait.js";
import { cutOut } from "../core/resample.js";

const golden = JSON.parse(readFileSync(new URL("../../tests/golden/faces.json", import.meta.url)));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const square = (text, size) => ({ width: size, height: size, data: bytes(text) });
const photo = { ...golden.photo, data: bytes(golden.photo.data) };
const pairs = (values) => Array.from({ length: values.length / 2 }, (_, i) => [values[2 * i], values[2 * i + 1]]);
const near = (got, wanted, most, words) => assert.ok(Math.abs(got - wanted) <= most, `${words}: ${got}, not ${wanted}`);
const differences = (one, two) => Array.from(one, (value, i) => Math.abs(value - two[i]));

for (const row of golden.cases) {
  test(`${row.name}: cut out to the same bytes and put back as in Python`, () => {
    const matrix = cropTransform(pairs(row.points), row.size);
    for (const [i, value] of row.matrix.entries()) near(matrix[i], value, 1e-5 * Math.max(1, Math.abs(value)), `${matrix}`);

    assert.deepEqual(Buffer.from(cutOut(photo, row.matrix, row.size).data), Buffer.from(row.crop, "base64"));
    const aside = row.matrix.with(2, row.matrix[2] + 1); // one pixel aside nothing may fit
    assert.ok(Math.max(...differences(cutOut(photo, aside, row.size).data, bytes(row.crop))) > 8);

    const made = pasted(photo, square(row.crop, row.size), square(row.restored, row.size), row.matrix);
    const put = differences(made.data, bytes(row.pasted));
    assert.ok(Math.max(...put) <= 1, `pasted: ${Math.max(...put)}`); // sums in another order may round the other way
    assert.ok(put.filter((value) => value).length < put.length / 200);
  });
}

test("the file of a code is Python's to the last byte, and others are refused", () => {
  const values = Float32Array.from(golden.code.values);
  const code = { values, shape: [4, 8], encoder_sha256: "ab".repeat(32), photos: 3, threshold: 0.4375 };

  const file = writtenCode(code);

  assert.deepEqual(file, bytes(golden.code.file));
  const back = readCode(file.buffer);
  assert.deepEqual({ ...back, values: null }, { ...code, values: null });
  for (const [i, value] of values.entries()) assert.ok(Math.abs(back.values[i] - value) <= Math.max(Math.abs(value) / 2048, 2 ** -25));
  assert.deepEqual(writtenCode(back), file);
  const refused = (part, words) => assert.throws(() => readCode(part), (error) => error.message.includes(words));
  refused(file.buffer.slice(0, -2), "cut short");
  refused(new ArrayBuffer(4), "not an identity code");
  refused(new ArrayBuffer(70000), "larger than 65536");
  refused(Uint8Array.from(file, (byte, i) => (i < 8 ? 255 : byte)).buffer, "not an identity code");
});

test("three marks are as good as five points", () => {
  const five = pairs(golden.cases[0].points);
  const mouth = [0, 1].map((k) => (five[3][k] + five[4][k]) / 2);

  assert.deepEqual(cropTransform([five[0], five[1], mouth], 64), cropTransform(five, 64));
});

test("marks that cannot be a face are named", () => {
  assert.equal(disorder([[10, 10], [20, 10], [15, 20]]), null);
  assert.equal(disorder([[20, 10], [10, 10], [15, 20]]), "the eyes are swapped");
  assert.equal(disorder([[10, 20], [20, 20], [15, 10]]), "the mouth is above the eyes");
  assert.equal(disorder([[10, 10], [10, 10], [15, 20]]), "both eyes are at the same place");
});

/** What the golden nets say, whatever they see; `calls` gets what they were given. */
function said({ nets, mesh }, calls) {
  const points = new Float32Array(bytes(mesh.values).buffer);
  return async (net, input) => {
    const number = calls.filter((call) => call.net === net).length;
    calls.push({ net, mean: input.reduce((sum, value) => sum + value, 0) / input.length });
    const row = nets.find(({ name }) => name === net);
    if (!row) {
      const turned = points.map((value, i) => (number % 3 === 2 && i % 3 === 2 ? -value : value) + mesh.step * number);
      return [turned, Float32Array.of(mesh.flags[number % mesh.flags.length])];
    }
    const [values, logits] = [new Float32Array(16 * row.places), new Float32Array(row.places).fill(row.quiet)];
    for (const one of row.said) {
      values.set(one.values, 16 * one.place);
      logits[one.place] = one.logit;
    }
    return [values, logits];
  };
}

test("nets are given what Python gives them, and what they say becomes the same faces", async () => {
  const calls = [];

  const faces = await foundFaces(photo, said(golden.found, calls));

  assert.deepEqual(calls.map(({ net }) => net), golden.found.calls.map(({ net }) => net));
  for (const [i, { net, mean }] of golden.found.calls.entries()) near(calls[i].mean, mean, 2e-5, `${net} ${i}`);
  assert.equal(faces.length, golden.found.faces.length);
  for (const [i, wanted] of golden.found.faces.entries()) {
    for (const [k, value] of wanted.points.entries()) near(faces[i].points.flat()[k], value, 1e-3, `face ${i}`);
    near(faces[i].score, wanted.score, 1e-6, `score ${i}`);
    near(faces[i].side, wanted.side, 1e-3, `side ${i}`);
    near(faces[i].yaw, wanted.yaw, 1e-3, `yaw ${i}`);
  }
});

test("the way back of scales is exact, and of any turn it leads back", () => {
  for (let side = 3; side < 5000; side += 7) assert.deepEqual(inverse([128 / side, 0, 0, 0, 128 / side, 0]).map((v) => v + 0), [1 / (128 / side), 0, 0, 0, 1 / (128 / side), 0]);
  for (const matrix of [[0, 2, 5, -2, 0, 7], [0.3, -0.4, 1, 0.4, 0.3, 2], [0.1, 3, 0, -3, 0.1, 0]]) {
    const again = inverse(inverse(matrix));
    for (const [i, value] of matrix.entries()) near(again[i], value, 1e-12, `${matrix}`);
  }
});

test("nothing is cut out by a matrix that leads nowhere: all black", () => {
  const { data } = cutOut(photo, [0, 0, 0, 0, 0, 0], 8);

  assert.deepEqual([...data], Array(192).fill(0));
});

test("a photo in which no net sees anything has no face", async () => {
  const nets = { face_detection_short_range: 896, face_detection_full_range: 2304 };
  const run = async (name) => [new Float32Array(nets[name] * 16), new Float32Array(nets[name]).fill(-5)];

  assert.deepEqual(await foundFaces(photo, run), []);
});

/** A restorer of few pixels, and an engine that only remembers what it was given. */
function toy(extra, px = 4) {
  const image = { name: "image", shape: [1, 3, px, px], layout: "nchw", low: -1, high: 1 };
  const out = { ...image, name: "image_out" };
  const entry = { inputs: [image, ...extra], outputs: [out], format: "tflite", path: "x.tflite" };
  const seen = [];
  const engine = { run: async (feeds) => (seen.push(feeds), { image_out: feeds.image }), close() {} };
  const bundle = { manifest: { name: "toy", parts: [] }, nets: [] };
  return { portraits: new Portraits(bundle, entry, engine, { threads: 1 }), seen, entry };
}

test("a restorer says how it is told of people", () => {
  const memory = [{ name: "memory_2", shape: [1, 2, 8, 3] }, { name: "reference_mask", shape: [1, 2] }];

  assert.equal(kindOf(toy(memory).entry), "memory");
  assert.equal(toy(memory).portraits.places, 2);
  assert.equal(kindOf(toy([{ name: "code", shape: [1, 4, 6] }]).entry), "code");
  assert.equal(toy([]).portraits.places, 0);
});

test("a marked face that a network leaves alone gives the photo back", async () => {
  const { portraits, seen } = toy([{ name: "code", shape: [1, 4, 6] }]);
  const even = { width: 40, height: 30, data: new Uint8Array(40 * 30 * 3).fill(90) };
  portraits.mark([[[0.4, 0.4], [0.6, 0.4], [0.5, 0.6]]]);

  const made = await portraits.edit(even);

  assert.deepEqual(made.photo.data, even.data);
  assert.deepEqual([...seen[0].code], Array(24).fill(0));
});

/** Two faces next to each other on a gray photo, and a restorer that draws a board on each. */
function couple() {
  const { portraits, seen } = toy([{ name: "code", shape: [1, 4, 6] }], 16);
  const board = Float32Array.from({ length: 768 }, (_, i) => ((i % 16) + Math.floor(i / 16)) % 2 - 0.5);
  portraits.engine.run = async (feeds) => (seen.push(feeds), { image_out: board });
  portraits.useCode({ values: new Float32Array(24).fill(2), encoder_sha256: "a".repeat(64), photos: 1 });
  portraits.mark([0.25, 0.75].map((x) => [[x - 0.05, 0.4], [x + 0.05, 0.4], [x, 0.55]]));
  return { portraits, seen, gray: { width: 120, height: 60, data: new Uint8Array(120 * 60 * 3).fill(90) } };
}

test("every face of a photo is restored, and the references are those of the first", async () => {
  const { portraits, seen, gray } = couple();
  const told = [];

  const made = await portraits.edit(gray, async (...step) => told.push(step));

  const changed = (x) => made.photo.data[(30 * 120 + x) * 3] !== 90;
  assert.deepEqual([28, 60, 88].map((x) => [x - 2, x, x + 2].some(changed)), [true, false, true]);
  assert.deepEqual(seen.map(({ code }) => code[0]), [2, 0]);
  assert.deepEqual(told, [[0, 2], [1, 2], [2, 2]]);
  assert.deepEqual([made.tiles, made.faces.length, made.left], [2, 2, 0]);
});

test("an edit that is given up restores no further face", async () => {
  const { portraits, seen, gray } = couple();
  const enough = async (done) => {
    if (done === 1) throw new Error("enough");
  };

  await assert.rejects(portraits.edit(gray, enough), /enough/);

  assert.equal(seen.length, 1);
});

test("a code of the right encoder is used, any other is refused", async () => {
  const { portraits, seen } = toy([{ name: "code", shape: [1, 4, 6] }]);
  portraits.bundle.manifest.encoder_sha256 = "a".repeat(64);
  const code = { values: new Float32Array(24).fill(2), encoder_sha256: "a".repeat(64), photos: 2 };

  assert.deepEqual(portraits.useCode(code), { photos: 2 });
  await portraits.repeat(1);
  assert.deepEqual([...seen[0].code], Array(24).fill(2));
  assert.throws(() => portraits.useCode({ ...code, encoder_sha256: "b".repeat(64) }), /made by the encoder bbbb/);
  assert.throws(() => portraits.useCode({ ...code, values: new Float32Array(3) }), /no such code/);
  await assert.rejects(portraits.code(), /no code to save/);
});

test("without nets and without marks the page is told what to do", async () => {
  const { portraits } = toy([]);

  await assert.rejects(portraits.edit(photo), /mark the eyes and the mouth by hand/);
  await assert.rejects(portraits.enrol(photo, null), /room for 0 references/);
});
