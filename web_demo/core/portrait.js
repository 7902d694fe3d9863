/** A restorer opened for use: people enrolled once, then faces found, cut out, restored and put back. */
import { cropTransform, disorder, pasted } from "./align.js";
import { fromGolden, golden, started } from "./engine.js";
import { EdgekitError } from "./errors.js";
import { foundFaces } from "./faces.js";
import { fetched } from "./files.js";
import { picturePort, tileSize } from "./manifest.js";
import { readNpz } from "./npz.js";
import { alike, openPart } from "./parts.js";
import { toBytes, toLevels, toPort } from "./pixels.js";
import { cutOut } from "./resample.js";
import { percentile } from "./statistics.js";

const [IMAGE, MASK, CODE, MEMORY] = ["image", "reference_mask", "code", "memory_"];
const PARTS = { memory: "enroller", code: "identity" };
/** Least side of a face in the photo's pixels: of one to restore, and of a good one. */
const LEAST_PX = { restore: 20, enrol: 40 };
const MOST_YAW = 60;
/** Faces of a photo that are restored, the largest: as many as `edgekit restore` takes. */
export const MOST_FACES = 8;

/** How a restorer is told of a person: "memory", "code" or "none". */
export function kindOf(entry) {
  const names = entry.inputs.map((port) => port.name);
  if (names.includes(CODE)) return "code";
  return names.includes(MASK) ? "memory" : "none";
}

export class Portraits {
  #nets = new Map();
  #enroller = null;
  #known = {};
  #codes = [];
  #sums = null;
  #count = 0;
  #marked = null;

  constructor(bundle, entry, engine, options) {
    this.bundle = bundle;
    this.entry = entry;
    this.engine = engine;
    this.options = options;
    this.kind = kindOf(entry);
    this.input = entry.inputs.find((port) => port.name === IMAGE);
    this.output = picturePort(entry.outputs);
    this.startMs = 0;
    this.loadMs = 0;
    this.first = null;
    this.forget();
  }

  /**
   * Open a file of a restorer; its enroller is opened when somebody is enrolled.
   *
   * @param {any} bundle of openBundle; `nets` names the site's files that find faces
   * @param {any} entry one of its models
   * @param {{accelerator: "wasm" | "webgpu", threads: number}} options
   */
  static async open(bundle, entry, options) {
    const { engine, startMs, loadMs } = await started(bundle, entry, options);
    return Object.assign(new Portraits(bundle, entry, engine, options), { startMs, loadMs });
  }

  /** Side of the aligned faces. */
  get size() {
    return tileSize(this.input)[0];
  }

  /** References that fit; any number for a code. */
  get places() {
    if (this.kind === "none") return 0;
    return this.kind === "code" ? Infinity : this.entry.inputs.find((port) => port.name === MASK).shape[1];
  }

  /** Know nobody. */
  forget() {
    this.#known = this.#nobody();
    this.#codes = [];
    this.#sums = null;
    this.#count = 0;
  }

  /** What a restorer is told that knows nobody: zeros. */
  #nobody() {
    return Object.fromEntries(this.entry.inputs.filter((port) => port.name !== IMAGE).map((port) => [port.name, zeros(port)]));
  }

  /**
   * Say where faces are: both eyes and the mouth of each, in shares of the photo's sides; null looks for them.
   * The first is the one that was enrolled, if anybody was.
   */
  mark(faces) {
    this.#marked = faces;
  }

  /**
   * Add a good photo of the person; returns its aligned face, and whether it looks like the ones before.
   *
   * @param {import("./pixels.js").Photo} photo
   * @param {[number, number][] | null} points given by hand, in shares of the photo's sides
   */
  async enrol(photo, points) {
    if (this.#count >= this.places) {
      throw new EdgekitError(`this restorer has room for ${this.places} references`, "forget them and choose the best");
    }
    const enroller = await this.#opened();
    const { entry, engine } = enroller;
    const input = entry.inputs.find((port) => port.name === IMAGE);
    const [size] = tileSize(input);
    const [found] = (await this.#faces(photo, points && [points], LEAST_PX.enrol, 1)).points;
    const face = cutOut(photo, cropTransform(found, size), size);
    const feeds = { [IMAGE]: toPort(face, input) };
    const likeness = this.kind === "memory" ? this.#remember(await engine.run(feeds)) : await this.#encode(enroller, feeds);
    this.#count += 1;
    return { face, count: this.#count, likeness };
  }

  /** Put what the enroller says of one photo in the next place of the memory. */
  #remember(held) {
    const places = this.places;
    for (const port of this.entry.inputs.filter(({ name }) => name.startsWith(MEMORY))) {
      const [, layers, all, width] = port.shape;
      const tokens = (all / places) * width;
      for (let i = 0; i < layers; i++) {
        const part = held[port.name].subarray(i * tokens, (i + 1) * tokens);
        this.#known[port.name].set(part, (i * places + this.#count) * tokens);
      }
    }
    this.#known[MASK][this.#count] = 1;
    return null;
  }

  /** Add a photo to the sums that the code is made of; returns its likeness to the others, from -1 to 1. */
  async #encode({ entry, engine, bundle }, feeds) {
    const empty = zeros(entry.inputs.find((port) => port.name === "sums"));
    const alone = await engine.run({ ...feeds, sums: empty });
    const all = this.#sums ? await engine.run({ ...feeds, sums: this.#sums }) : alone;
    this.#sums = all.sums_out;
    this.#known[CODE] = all.code;
    const likeness = this.#codes.length ? percentile(this.#codes.map((code) => cosine(code, alone.code)), 50) : null;
    this.#codes.push(alone.code);
    const threshold = bundle.manifest.quality?.["identity.threshold"];
    return likeness === null ? null : { likeness, same: threshold === undefined || likeness >= threshold };
  }

  /** The code of the person, to be kept as a file; throws if nobody is enrolled. */
  async code() {
    const port = this.entry.inputs.find(({ name }) => name === CODE);
    if (!port || !this.#count) throw new EdgekitError("there is no code to save", "add good photos of a person first");
    const { manifest } = (await this.#opened()).bundle;
    const [queries, width] = port.shape.slice(-2);
    const facts = { encoder_sha256: manifest.student.sha256, photos: this.#count, threshold: manifest.quality?.["identity.threshold"] ?? 1 };
    return { values: this.#known[CODE].slice(), shape: [queries, width], ...facts };
  }

  /** Know the person of a code that was kept; photos that are added later begin a new one. */
  useCode({ values, encoder_sha256, photos }) {
    const wanted = this.bundle.manifest.encoder_sha256 ?? encoder_sha256;
    if (this.kind !== "code" || values.length !== this.#known[CODE].length) throw new EdgekitError("this restorer takes no such code", "add good photos of the person");
    if (wanted !== encoder_sha256) {
      throw new EdgekitError(`the code was made by the encoder ${encoder_sha256.slice(0, 12)}, this restorer understands ${wanted.slice(0, 12)}`, "enrol the photos here");
    }
    this.forget();
    this.#known[CODE] = values;
    return { photos };
  }

  async #opened() {
    return (this.#enroller ??= await this.#openEnroller());
  }

  async #openEnroller() {
    if (!(this.kind in PARTS)) throw new EdgekitError("this restorer takes no references", "restore without them");
    const bundle = await openPart(this.bundle, PARTS[this.kind]);
    const entry = alike(bundle, this.entry);
    const { engine } = await started(bundle, entry, this.options);
    return { bundle, entry, engine };
  }

  /**
   * Restore the faces in a photo of any size, the largest first, and say how long each part took. References are of one
   * person: they are used for the first face, the others are restored as if nobody was known.
   *
   * @param {import("./pixels.js").Photo} photo
   * @param {(done: number, total: number) => Promise<void>} report may end it by throwing
   */
  async edit(photo, report = async () => {}) {
    const begin = performance.now();
    const { points, left } = await this.#faces(photo, this.#marked, LEAST_PX.restore, MOST_FACES);
    const made = [];
    let [pre, model] = [performance.now() - begin, 0];
    for (const [i, face] of points.entries()) {
      await report(i, points.length);
      const start = performance.now();
      const matrix = cropTransform(face, this.size);
      const crop = cutOut(photo, matrix, this.size);
      const feeds = { ...(i ? this.#nobody() : this.#known), [IMAGE]: toPort(crop, this.input) };
      const ready = performance.now();
      const outputs = await this.engine.run(feeds);
      const took = performance.now() - ready;
      this.first ??= took;
      pre += ready - start;
      model += took;
      const data = toBytes(toLevels(outputs[this.output.name], this.output));
      made.push({ matrix, crop, restored: { width: this.size, height: this.size, data } });
    }
    const end = performance.now();
    // Where two crops overlap, the larger face lies on top.
    const whole = made.reverse().reduce((under, { crop, restored, matrix }) => pasted(under, crop, restored, matrix), photo);
    const faces = points.map((face) => face.map(([x, y]) => [x / photo.width, y / photo.height]));
    await report(points.length, points.length);
    return { photo: whole, pre, model, post: performance.now() - end, tiles: points.length, faces, left };
  }

  /** A face of the golden vectors, which no training saw, restored with the references that came with it. */
  async sample(index) {
    const arrays = readNpz(await fetched(this.bundle.folder, this.bundle.manifest.golden));
    const { samples } = this.bundle.manifest.golden;
    const given = (port) => {
      const { data } = arrays.get(port.name);
      const each = data.length / samples;
      const at = index % samples;
      return fromGolden(data.slice(at * each, (at + 1) * each), port);
    };
    const feeds = Object.fromEntries(this.entry.inputs.map((port) => [port.name, given(port)]));
    const picture = (values, port) => ({ width: this.size, height: this.size, data: toBytes(toLevels(values, port)) });
    const start = performance.now();
    const outputs = await this.engine.run(feeds);
    const model = performance.now() - start;
    this.first ??= model;
    return { before: picture(feeds[IMAGE], this.input), after: picture(outputs[this.output.name], this.output), model };
  }

  /** Return the points of those of the `most` largest faces that can be used, and how many were left out; throws why none can. */
  async #faces(photo, given, least, most) {
    if (given) {
      const points = given.map((face) => face.map(([x, y]) => [x * photo.width, y * photo.height]));
      const wrong = points.map(disorder).find(Boolean);
      if (wrong) throw new EdgekitError(`the marks cannot be right: ${wrong}`, "R and L go on the eyes, M on the mouth");
      return { points, left: 0 };
    }
    if (!this.bundle.nets?.length) throw new EdgekitError("this site does not hold the nets that find faces", "mark the eyes and the mouth by hand");
    const faces = await foundFaces(photo, (name, input) => this.#net(name, input));
    const [largest] = faces;
    if (!largest) throw new EdgekitError("no face was found", "mark the eyes and the mouth by hand, or use another photo");
    const fit = faces.slice(0, most).filter(({ side, yaw }) => side >= least && Math.abs(yaw) <= MOST_YAW);
    if (fit.length) return { points: fit.map((face) => face.points), left: faces.length - fit.length };
    const face = faces.length > 1 ? "the largest face" : "the face";
    if (largest.side < least) throw new EdgekitError(`${face} is ${largest.side.toFixed(0)} pixels large, less than ${least}`, "use a photo taken from nearer");
    throw new EdgekitError(`${face} is turned ${Math.abs(largest.yaw).toFixed(0)} degrees to the side`, "use a photo that shows both eyes");
  }

  async #net(name, input) {
    if (!this.#nets.has(name)) this.#nets.set(name, this.#openNet(name));
    const { engine, ports } = await this.#nets.get(name);
    const outputs = Object.values(await engine.run({ [ports[0].name]: input }));
    return outputs.sort((a, b) => b.length - a.length);
  }

  async #openNet(name) {
    const entry = this.bundle.nets.find((net) => net.name === name);
    if (!entry) throw new EdgekitError(`the site lacks the net ${name}`, "build the site again");
    const site = { folder: new URL("../", import.meta.url).href };
    const { engine } = await started(site, { format: "tflite", outputs: [], ...entry }, { accelerator: "wasm", threads: this.options.threads });
    return { engine, ports: entry.inputs };
  }

  /** Run the model `count` times and return the milliseconds of each call. */
  async repeat(count) {
    const feeds = { ...this.#known, [IMAGE]: zeros(this.input) };
    const ms = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await this.engine.run(feeds);
      ms.push(performance.now() - start);
      this.first ??= ms[0];
    }
    return { ms, first: this.first };
  }

  /** Run the golden vectors that Python wrote and compare. */
  golden() {
    return golden(this.bundle, this.entry, this.engine);
  }

  close() {
    this.engine.close();
    this.#enroller?.engine.close();
    for (const net of this.#nets.values()) net.then(({ engine }) => engine.close(), () => {});
  }
}

function zeros(port) {
  return new Float32Array(port.shape.reduce((a, b) => a * b, 1));
}

function cosine(one, two) {
  let [both, a, b] = [0, 0, 0];
  for (let i = 0; i < one.length; i++) {
    both += one[i] * two[i];
    a += one[i] ** 2;
    b += two[i] ** 2;
  }
  return a && b ? both / Math.sqrt(a * b) : 0;
}
