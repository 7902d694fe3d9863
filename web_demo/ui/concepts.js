/** The concept switcher of a base: one chip a concept, a second one to mix in, and its share. */
import { $, options } from "./dom.js";

/** Show the concepts of a manifest, or nothing for a bundle of one concept; `changed` is called on every choice. */
export function showConcepts(manifest, changed) {
  const rows = manifest.concepts ?? [];
  $("concepts").hidden = !manifest.adapter_input;
  $("chips").replaceChildren(...rows.map((row, number) => chip(row, number === 0, changed)));
  options($("second"), [["", "nothing"], ...rows.map((row) => [row.name, row.prompt])], "");
}

function chip(row, checked, changed) {
  const label = document.createElement("label");
  label.className = "chip";
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "concept", value: row.name, checked });
  input.addEventListener("change", changed);
  const text = Object.assign(document.createElement("span"), { textContent: row.prompt });
  label.append(input, text);
  return label;
}

/** Return what is chosen, name -> weight, and write the share where it is shown. */
export function chosenWeights() {
  const first = document.querySelector("#chips input:checked")?.value;
  const second = $("second").value;
  const mixes = Boolean(second) && second !== first;
  const share = Number($("mix").value) / 100;
  $("mixing").hidden = !mixes;
  $("share-of-mix").textContent = `${$("mix").value} %`;
  $("mix").setAttribute("aria-valuetext", `${$("mix").value} percent`);
  if (!first) return {};
  if (!mixes || share === 0) return { [first]: 1 };
  return share === 1 ? { [second]: 1 } : { [first]: 1 - share, [second]: share };
}
