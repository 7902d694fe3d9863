/** What the parts of the page share: elements by id, the status line, errors as sentences. */
import { EdgekitError } from "../core/errors.js";
import { Cancelled } from "../core/remote.js";

export const $ = (id) => document.getElementById(id);

/** Write the status line, which screen readers speak. */
export function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

/** Run `work`; what goes wrong becomes a sentence. Returns whether it went well. */
export async function guarded(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof Cancelled) return false;
    const known = error instanceof EdgekitError;
    say(known ? error.message : `Something failed: ${error.message}`, true);
    if (!known) console.error(error);
    return false;
  }
}

/** Fill a select with [value, text] rows. */
export function options(select, rows, chosen) {
  select.replaceChildren(...rows.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

/** Call `work` for an event of an element, guarded. */
export function on(id, event, work) {
  $(id).addEventListener(event, (e) => guarded(() => work(e)));
}

/** Let the browser save a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Milliseconds for people: three digits. */
export function shown(ms) {
  return ms >= 100 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}
