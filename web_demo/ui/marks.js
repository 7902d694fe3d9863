/** Marks on the picture that are put on both eyes and the mouth by hand, by pointer or by keyboard. */
import { $ } from "./dom.js";

const NAMES = [["R", "Eye on the left of the picture"], ["L", "Eye on the right of the picture"], ["M", "Middle of the mouth"]];
/** Where the marks begin, as shares of the picture. */
const BEGIN = [[0.4, 0.4], [0.6, 0.4], [0.5, 0.62]];
const STEP = 0.005;
let waiting = null;

/**
 * Show the marks and wait until they are used.
 *
 * @param {[number, number][] | null} points of a face, where they begin, in shares of the picture's sides
 * @returns {Promise<[number, number][] | null>} three points, null if given up
 */
export function askMarks(points) {
  giveUp();
  const places = points ? [points[0], points[1], points[4] ? middle(points[3], points[4]) : points[2]] : BEGIN.map((share) => [...share]);
  $("marks").replaceChildren(...NAMES.map(([letter, name], i) => mark(letter, name, places, i)));
  shown(true);
  $("marks").firstChild.focus();
  return new Promise((resolve) => {
    waiting = (used) => {
      waiting = null;
      shown(false);
      resolve(used ? places : null);
    };
  });
}

/** Take the marks away; what waits for them gets null. */
export function giveUp() {
  waiting?.(false);
}

/** Connect the two buttons. */
export function wireMarks() {
  $("use-marks").addEventListener("click", () => waiting?.(true));
  $("no-marks").addEventListener("click", giveUp);
}

function shown(now) {
  $("marks").hidden = !now;
  $("marking").hidden = !now;
  $("split").disabled = now; // the marks lie on it
  $("frame").classList.toggle("marking", now);
}

function middle(one, two) {
  return [0, 1].map((k) => (one[k] + two[k]) / 2);
}

function mark(letter, name, places, i) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: name });
  button.append(Object.assign(document.createElement("span"), { textContent: letter }));
  const put = (x, y) => {
    places[i] = [x, y].map((value) => Math.min(1, Math.max(0, value)));
    button.style.left = `${100 * places[i][0]}%`;
    button.style.top = `${100 * places[i][1]}%`;
    button.setAttribute("aria-label", `${name}: ${places[i].map((value) => `${Math.round(100 * value)} %`).join(", ")}; arrow keys move it`);
  };
  button.addEventListener("pointerdown", (event) => button.setPointerCapture(event.pointerId));
  button.addEventListener("pointermove", (event) => {
    if (!button.hasPointerCapture(event.pointerId)) return;
    const { left, top, width, height } = $("marks").getBoundingClientRect();
    put((event.clientX - left) / width, (event.clientY - top) / height);
  });
  button.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const step = event.shiftKey ? 5 * STEP : STEP;
    put(places[i][0] + way[0] * step, places[i][1] + way[1] * step);
  });
  put(...places[i]);
  return button;
}
