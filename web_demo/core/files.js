/** Files of a bundle: fetched from this site alone, and compared with their sha256 before use. */
import { EdgekitError } from "./errors.js";

/** Return the sha256 of a buffer as hexadecimal text. */
export async function sha256(buffer) {
  const digest = await crypto.subtle.digest("SHA-256", buffer);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Fetch a listed file and check it.
 *
 * @param {string} folder URL of the bundle, ending in a slash
 * @param {{path: string, sha256: string}} entry
 * @returns {Promise<ArrayBuffer>}
 */
export async function fetched(folder, entry) {
  let answer;
  try {
    answer = await fetch(folder + entry.path);
  } catch {
    throw new EdgekitError(`${entry.path} cannot be loaded`, "check the connection and try again");
  }
  if (!answer.ok) {
    throw new EdgekitError(`${entry.path} is missing (${answer.status})`, "copy the whole bundle to the site");
  }
  const buffer = await answer.arrayBuffer();
  if ((await sha256(buffer)) !== entry.sha256) {
    throw new EdgekitError(`${entry.path} is not the file that was exported`, "copy the bundle to the site again");
  }
  return buffer;
}
