/** A mesh generator opened for use: words to planes, planes to a field on a lattice, the field to a mesh. */
import { golden, started } from "./engine.js";
import { EdgekitError } from "./errors.js";
import { extracted, VALUES } from "./mesh_extract.js";
import { featuresAt, latticeFeatures, toPlanes } from "./mesh_field.js";
import { vertexNormals, withoutCrumbs } from "./mesh_surface.js";
import { readWords, textOf } from "./mesh_words.js";
import { alike, asset, openPart } from "./parts.js";

/**
 * @typedef {{positions: Float32Array, normals: Float32Array, colors: Float32Array, triangles: Uint32Array}} Mesh
 *   vertices x 3 each, colours sRGB from 0 to 1; three vertices a triangle
 */

/** The field is a file of 30 KB: rounding its weights saves nothing, and moves the surface. */
const EXACT = ["fp32", "fp16"];

export class Sculptor {
  #last = Promise.resolve();

  /** @param {any} bundle its manifest says how large the lattice is, in `mesh` */
  constructor(bundle, entry, engine, field, words) {
    this.bundle = bundle;
    this.entry = entry;
    this.engine = engine;
    this.field = field;
    this.words = words;
    this.startMs = 0;
    this.loadMs = 0;
    this.first = null;
  }

  /**
   * Open a file of planes and the file of the field that goes with it.
   *
   * @param {any} bundle of openBundle
   * @param {any} entry one of its models
   * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
   */
  static async open(bundle, entry, options) {
    const [part, words] = await Promise.all([openPart(bundle, "field"), asset(bundle, "words")]);
    const fieldEntry = alike(part, entry, EXACT);
    const { engine, startMs, loadMs } = await started(bundle, entry, options);
    const second = await started(part, fieldEntry, options);
    const field = { bundle: part, entry: fieldEntry, engine: second.engine };
    const sculptor = new Sculptor(bundle, entry, engine, field, readWords(words));
    return Object.assign(sculptor, { startMs, loadMs: loadMs + second.loadMs });
  }

  /**
   * Make the mesh of a prompt, after those that were asked for before; says how long each part took, in milliseconds.
   *
   * @param {string} prompt
   * @param {(done: number, total: number) => Promise<void> | void} report after every part of the lattice
   * @returns {Promise<Mesh & {spent: Record<string, number>}>}
   */
  make(prompt, report = () => {}) {
    const made = this.#last.then(() => this.#made(prompt, report));
    this.#last = made.catch(() => {});
    return made;
  }

  async #made(prompt, report) {
    const { cells, deform } = this.bundle.manifest.mesh;
    const clock = new Clock();
    const text = textOf(prompt, this.words);
    const { inputs, outputs } = this.entry;
    const given = await this.engine.run({ [inputs[0].name]: text });
    const planes = toPlanes(given[outputs[0].name], outputs[0]);
    clock.lap("planes");
    this.first ??= clock.spent.planes;
    const field = await this.#lattice(planes, cells, report);
    clock.lap("field");
    const surface = withoutCrumbs(extracted(field, cells, deform));
    if (!surface.triangles.length) throw new EdgekitError("the mesh of this prompt is empty", "try other words");
    const normals = vertexNormals(surface);
    clock.lap("surface");
    const colors = await this.#colors(planes, surface.positions);
    clock.lap("colors");
    return { ...surface, normals, colors, spent: clock.spent };
  }

  /** Ask the field at every point of the lattice, as many at once as it takes. */
  async #lattice(planes, cells, report) {
    const total = (cells + 1) ** 3;
    const fill = latticeFeatures(planes, cells);
    const field = new Float32Array(total * VALUES);
    const [count, width] = this.#call();
    const features = new Float32Array(count * width);
    for (let start = 0; start < total; start += count) {
      const end = Math.min(total, start + count);
      fill(start, end, features);
      const values = await this.#field(features);
      field.set(values.subarray(0, (end - start) * VALUES), start * VALUES);
      await report(end, total);
    }
    return field;
  }

  async #colors(planes, positions) {
    const total = positions.length / 3;
    const colors = new Float32Array(positions.length);
    const [count, width] = this.#call();
    const features = new Float32Array(count * width);
    for (let start = 0; start < total; start += count) {
      const end = Math.min(total, start + count);
      features.set(featuresAt(planes, positions.subarray(3 * start, 3 * end)));
      const values = await this.#field(features);
      for (let n = 0; n < end - start; n++) {
        for (let c = 0; c < 3; c++) colors[3 * (start + n) + c] = values[n * VALUES + 4 + c];
      }
    }
    return colors;
  }

  /** Points that the field takes in one call, and the features of each. */
  #call() {
    return this.field.entry.inputs[0].shape.slice(1);
  }

  async #field(features) {
    const { entry, engine } = this.field;
    return (await engine.run({ [entry.inputs[0].name]: features }))[entry.outputs[0].name];
  }

  /** Run the file of planes `count` times and return the milliseconds of each call. */
  async repeat(count) {
    const [port] = this.entry.inputs;
    const values = Float32Array.from({ length: port.shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 7) % 16) / 16);
    const ms = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await this.engine.run({ [port.name]: values });
      ms.push(performance.now() - start);
      this.first ??= ms[0];
    }
    return { ms, first: this.first };
  }

  /** Compare both files with the golden vectors that Python wrote; the worse one counts. */
  async golden() {
    const found = [];
    for (const { bundle, entry, engine } of [this, this.field]) found.push(await golden(bundle, entry, engine));
    const samples = Math.min(...found.map((row) => row.samples));
    return { max_abs: Math.max(...found.map((row) => row.max_abs)), worst_db: Math.min(...found.map((row) => row.worst_db)), samples };
  }

  close() {
    this.engine.close();
    this.field.engine.close();
  }
}

class Clock {
  constructor() {
    this.spent = {};
    this.last = performance.now();
  }

  lap(name) {
    const now = performance.now();
    this.spent[name] = now - this.last;
    this.last = now;
  }
}
