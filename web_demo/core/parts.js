/** What a bundle is made of besides its own files: bundles inside it, and assets. */
import { EdgekitError } from "./errors.js";
import { fetched } from "./files.js";
import { checkedManifest, runnable } from "./manifest.js";

/**
 * Read the bundle `name` inside a bundle; its manifest is compared with the sha256 in the outer one.
 *
 * @param {any} bundle of openBundle
 * @param {string} name
 * @returns {Promise<{folder: string, manifest: any, models: any[]}>}
 */
export async function openPart(bundle, name) {
  const part = named(bundle, "parts", name);
  const buffer = await fetched(bundle.folder, { path: `${part.path}/manifest.json`, sha256: part.sha256 });
  const manifest = checkedManifest(JSON.parse(new TextDecoder().decode(buffer)));
  return { folder: `${bundle.folder}${part.path}/`, manifest, models: runnable(manifest) };
}

/** The file of a part that goes with a file of its bundle: of the same format, the first of `precisions` that it has. */
export function alike(part, entry, precisions = [entry.precision]) {
  const fit = part.models.filter((model) => model.format === entry.format);
  const wanted = precisions.map((precision) => fit.find((model) => model.precision === precision)).find(Boolean);
  const found = wanted ?? fit[0];
  if (!found) throw new EdgekitError(`${part.manifest.name} holds no ${entry.format} file`, "export the bundle again");
  return found;
}

/** Fetch an asset of a bundle by its name. */
export function asset(bundle, name) {
  return fetched(bundle.folder, named(bundle, "assets", name));
}

function named(bundle, kind, name) {
  const found = (bundle.manifest[kind] ?? []).find((row) => row.name === name);
  if (!found) throw new EdgekitError(`${bundle.manifest.name} has no ${name} among its ${kind}`, "export the bundle again");
  return found;
}
