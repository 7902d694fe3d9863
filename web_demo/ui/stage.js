/** The picture: before and after on two canvases under one slider, and the latency shown on it. */
import { limited } from "../core/pixels.js";
import { percentile } from "../core/statistics.js";
import { $, shown } from "./dom.js";

const KEPT = 30;

/** Draw anything that a canvas draws as the picture before the edit, its longer side limited. */
export function drawBefore(picture, width, height, most) {
  const canvas = $("before");
  const [h, w] = limited(height, width, most);
  // The picture after the edit keeps its place until there is a new one: no flicker in live view.
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    $("after").width = w;
    $("after").height = h;
    $("frame").style.setProperty("--aspect", String(w / h));
  }
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, w, h);
  context.drawImage(picture, 0, 0, w, h);
  delete $("stage").dataset.empty;
}

/** Return the pixels to edit. */
export function pixelsBefore() {
  const { width, height } = $("before");
  return $("before").getContext("2d").getImageData(0, 0, width, height);
}

/** Draw the edited pixels (RGBA). */
export function drawAfter(data, width, height) {
  const canvas = $("after");
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}

/** Move the border between before and after; percent of the width. */
export function setSplit(percent) {
  const value = Math.round(Math.min(100, Math.max(0, percent)));
  $("split").value = String(value);
  $("frame").style.setProperty("--split", `${value}%`);
  $("split").setAttribute("aria-valuetext", `${value} percent before, ${100 - value} percent after`);
}

/**
 * Show a part of the picture in the whole frame; null shows all of it.
 *
 * @param {{left: number, top: number, width: number, height: number} | null} box in shares of the picture's sides
 */
export function zoomTo(box) {
  const zoom = box ? Math.max(1, 1 / Math.max(box.width, box.height)) : 1;
  const start = (low, side) => 100 * Math.min(1 - 1 / zoom, Math.max(0, low + side / 2 - 0.5 / zoom));
  const style = $("frame").style;
  style.setProperty("--zoom", String(zoom));
  style.setProperty("--left", `${box ? start(box.left, box.width) : 0}%`);
  style.setProperty("--top", `${box ? start(box.top, box.height) : 0}%`);
}

/** Show how far a large photo is. */
export function showTiles(done, total) {
  $("tiles").hidden = total < 3 || done === total;
  $("tiles").max = total;
  $("tiles").value = done;
}

/** Keeps the last calls of a model, and shows where the time went. */
export class Latency {
  #calls = [];

  /** Forget: another model follows. */
  clear() {
    this.#calls = [];
    $("overlay").textContent = "";
    $("latency").hidden = true;
  }

  /** Show one edit; `frame` is the time since the one before, in live view. */
  show(made, width, height, frame) {
    const call = made.model / made.tiles;
    if (this.#calls.push(call) > KEPT) this.#calls.shift();
    const all = made.pre + made.model + made.post;
    const live = frame ? `, ${(1000 / frame).toFixed(1)} pictures a second` : "";
    $("overlay").textContent = `${shown(all)}${live}`;
    $("latency").hidden = false;
    $("pre").textContent = shown(made.pre);
    $("model-ms").textContent = shown(made.model);
    $("post").textContent = shown(made.post);
    $("first-ms").textContent = shown(made.first);
    const steady = this.#calls.slice(1);
    $("steady-ms").textContent = steady.length ? shown(percentile(steady, 50)) : made.tiles > 1 ? shown((made.model - made.first) / (made.tiles - 1)) : "–";
    const what = made.faces ? "face" : "tile";
    $("told").textContent = `${width} × ${height}: ${made.tiles === 1 ? `one ${what}` : `${made.tiles} ${what}s, ${shown(call)} each`}.`;
    for (const [i, part] of [made.pre, made.model, made.post].entries()) {
      $("bar").children[i].style.width = `${(100 * part) / all}%`;
    }
  }
}
