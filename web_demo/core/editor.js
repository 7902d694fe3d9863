/** A bundle opened for use: its model loaded once, switched between concepts, timed in its parts. */
import { blended, inputVector, readConcept } from "./concepts.js";
import { golden, started } from "./engine.js";
import { EdgekitError } from "./errors.js";
import { fetched } from "./files.js";
import { checkedManifest, picturePort, runnable, tileSize } from "./manifest.js";
import { toLevels, toPort } from "./pixels.js";
import { editTiled } from "./tiles.js";

/** Read and check the manifest of the bundle at `folder` (a URL ending in a slash). */
export async function openBundle(folder) {
  const answer = await fetch(`${folder}manifest.json`).catch(() => null);
  if (!answer?.ok) throw new EdgekitError("the bundle's manifest cannot be loaded", "check the site's files");
  const manifest = checkedManifest(await answer.json());
  const models = runnable(manifest);
  if (!models.length) {
    throw new EdgekitError(`${manifest.name} holds no file that a browser runs`, "export it with --target web");
  }
  return { folder, manifest, models };
}

/** One loaded model of a bundle. */
export class Editor {
  #concepts = new Map();

  constructor(bundle, entry, engine) {
    this.bundle = bundle;
    this.entry = entry;
    this.engine = engine;
    this.startMs = 0;
    this.loadMs = 0;
    this.adapter = bundle.manifest.adapter_input ?? null;
    this.input = picturePort(entry.inputs, this.adapter?.port);
    this.output = picturePort(entry.outputs);
    this.vector = null;
    this.first = null;
  }

  /**
   * Start the engine of a file's format and load the file.
   *
   * @param {any} bundle of openBundle
   * @param {any} entry one of its models
   * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
   */
  static async open(bundle, entry, options) {
    const { engine, startMs, loadMs } = await started(bundle, entry, options);
    const editor = new Editor(bundle, entry, engine);
    return Object.assign(editor, { startMs, loadMs });
  }

  /** The sides of what the model takes, [height, width]. */
  get tile() {
    return tileSize(this.input);
  }

  /** Switch a base to concepts with weights (name -> weight above 0); nothing is loaded again. */
  async use(weights) {
    if (!this.adapter) return true;
    const rows = [];
    for (const [name, weight] of Object.entries(weights)) rows.push([await this.#concept(name), weight]);
    if (!rows.length) throw new EdgekitError("this base needs a concept", "choose one");
    if (rows.length === 1 && rows[0][1] === 1) {
      this.vector = inputVector(rows[0][0], this.adapter);
      return true;
    }
    const { vector, exact } = blended(rows, this.adapter);
    this.vector = vector;
    return exact;
  }

  async #concept(name) {
    const entry = this.bundle.manifest.concepts.find((row) => row.name === name);
    if (!entry) throw new EdgekitError(`the base holds no concept ${name}`, "choose one of the list");
    if (!this.#concepts.has(name)) {
      this.#concepts.set(name, readConcept(await fetched(this.bundle.folder, entry), name));
    }
    return this.#concepts.get(name);
  }

  /**
   * Edit a photo of any size and say how long each part took.
   *
   * @returns {Promise<{photo: import("./pixels.js").Photo, pre: number, model: number, post: number, tiles: number}>}
   */
  async edit(photo, report) {
    const spent = { pre: 0, model: 0, post: 0, tiles: 0 };
    const vector = this.vector; // all tiles of a photo get the same concept, whatever is chosen meanwhile
    const editTile = async (tile) => {
      const t0 = performance.now();
      const feeds = this.#feeds(toPort(tile, this.input), vector);
      const t1 = performance.now();
      const outputs = await this.engine.run(feeds);
      const t2 = performance.now();
      const levels = toLevels(outputs[this.output.name], this.output);
      spent.pre += t1 - t0;
      spent.model += t2 - t1;
      spent.post += performance.now() - t2;
      spent.tiles += 1;
      this.first ??= t2 - t1;
      return levels;
    };
    const start = performance.now();
    const made = await editTiled(photo, editTile, this.tile, report);
    spent.post = performance.now() - start - spent.pre - spent.model;
    return { photo: made, ...spent };
  }

  /** Run the model `count` times on one tile of noise and return the milliseconds of each call. */
  async repeat(count) {
    const [height, width] = this.tile;
    const tile = { width, height, data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 256) };
    const feeds = this.#feeds(toPort(tile, this.input), this.vector);
    const ms = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await this.engine.run(feeds);
      ms.push(performance.now() - start);
      this.first ??= ms[0];
    }
    return { ms, first: this.first };
  }

  #feeds(picture, vector) {
    const feeds = { [this.input.name]: picture };
    if (this.adapter) {
      if (!vector) throw new EdgekitError("this base needs a concept", "choose one");
      feeds[this.adapter.port] = vector;
    }
    return feeds;
  }

  /** Run the golden vectors that Python wrote and compare. */
  golden() {
    return golden(this.bundle, this.entry, this.engine);
  }

  close() {
    this.engine.close();
  }
}
