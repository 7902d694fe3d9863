/** The bundle's manifest, as Python wrote it: checked before anything in it is used. */
import { EdgekitError } from "./errors.js";

const PATH = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/;
const SHA256 = /^[0-9a-f]{64}$/;
const VERSION = 1;

/** What a browser can run, the fastest on a CPU first. */
export const PREFERENCE = [
  ["tflite", "mixed"], ["tflite", "int8"], ["onnx", "mixed"], ["onnx", "int8"],
  ["tflite", "fp32"], ["onnx", "fp32"], ["tflite", "fp16"], ["onnx", "fp16"],
];

/**
 * Return the manifest if it is one that this page understands.
 *
 * @param {any} value parsed JSON
 * @returns {any}
 */
export function checkedManifest(value) {
  if (!value || value.kind !== "bundle") {
    throw new EdgekitError("this is not the manifest of a bundle", "export it with `edgekit export`");
  }
  if (value.schema_version !== VERSION) {
    throw new EdgekitError(
      `the bundle's schema is version ${value.schema_version}, this page knows ${VERSION}`,
      "update the page, or export the bundle with the page's version of edgekit",
    );
  }
  if (!Array.isArray(value.models) || !value.golden) {
    throw new EdgekitError("the manifest lists no models", "export the bundle again");
  }
  const listed = ["concepts", "adapters", "assets", "parts"].flatMap((kind) => value[kind] ?? []);
  for (const file of [...value.models, ...listed, value.golden]) {
    if (!PATH.test(String(file.path)) || String(file.path).split("/").includes("..")) {
      throw new EdgekitError(`the manifest names an unsafe path: ${file.path}`, "export the bundle again");
    }
    if (!SHA256.test(String(file.sha256))) {
      throw new EdgekitError(`${file.path} has no sha256`, "export the bundle again");
    }
  }
  return value;
}

/**
 * Return the models that a browser can run, the preferred first.
 *
 * @param {any} manifest
 * @returns {any[]}
 */
export function runnable(manifest) {
  const rank = (entry) =>
    PREFERENCE.findIndex(([form, precision]) => form === entry.format && precision === entry.precision);
  return manifest.models
    .filter((entry) => rank(entry) >= 0)
    .sort((a, b) => rank(a) - rank(b));
}

/**
 * Return the port of the one picture that a model takes or gives.
 *
 * @param {any[]} ports
 * @param {string | undefined} adapter name of the adapter port, which does not count
 */
export function picturePort(ports, adapter) {
  const pictures = ports.filter((port) => port.name !== adapter && tileSize(port));
  if (pictures.length !== 1) {
    throw new EdgekitError(
      `this model is not from one photo to one photo: ${ports.map((p) => `${p.name} [${p.shape}]`).join(", ")}`,
      "open a bundle of a picture editor",
    );
  }
  return pictures[0];
}

/**
 * Return [height, width] of a port that holds one RGB picture, null for any other port.
 *
 * @param {any} port
 * @returns {[number, number] | null}
 */
export function tileSize(port) {
  const [batch, a, b, c] = port.shape;
  if (port.shape.length !== 4 || batch !== 1) return null;
  if (port.layout === "nchw" && a === 3) return [b, c];
  if ((port.layout === "nhwc" || port.layout === "image") && c === 3) return [a, b];
  return null;
}
