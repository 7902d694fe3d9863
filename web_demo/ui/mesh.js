/** The screen of a mesh generator: a prompt, the mesh that a worker makes of it, its file. */
import { EdgekitError } from "../core/errors.js";
import { glb } from "../core/mesh_glb.js";
import { $, download, on, say, shown } from "./dom.js";
import { Viewer } from "./mesh_viewer.js";

export const FORM = "mesh";
const screen = { viewer: null, mesh: null, prompt: "", making: null };

/** Show the screen for a bundle of this form and hide it for any other. */
export function showMeshScreen(manifest) {
  const here = manifest.form === FORM;
  for (const id of ["sculpture", "prompting"]) $(id).hidden = !here;
  for (const id of ["stage", "sources"]) $(id).hidden = here;
  screen.viewer?.turn(false);
  $("turn").setAttribute("aria-pressed", "false");
  $("spent").hidden = true;
  if (!here) return;
  $("latency").hidden = true;
  clear();
  $("prompts").replaceChildren(...manifest.mesh.prompts.map((prompt) => new Option(prompt)));
  $("examples").replaceChildren(...manifest.mesh.prompts.slice(0, 8).map(example));
  $("prompt").value = manifest.mesh.prompts[0] ?? "";
}

/** Forget the mesh of the bundle before. */
function clear() {
  screen.mesh = null;
  screen.viewer?.show(null);
  for (const id of ["save-mesh", "turn"]) $(id).disabled = true;
  $("mesh").setAttribute("aria-label", "No mesh yet");
}

function example(prompt) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: prompt });
  button.addEventListener("click", () => {
    $("prompt").value = prompt;
    $("prompting").requestSubmit();
  });
  return button;
}

/**
 * Connect the controls; `editor` gives the model in use. Returns what makes the mesh of the same prompt again, for
 * another file of the bundle.
 *
 * @param {() => import("../core/remote.js").RemoteEditor} editor
 */
export function wireMesh(editor) {
  on("prompting", "submit", async (event) => {
    event.preventDefault();
    await make(editor(), $("prompt").value);
  });
  on("save-mesh", "click", async () => {
    const name = screen.prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "mesh";
    download(new Blob([glb(screen.mesh, screen.prompt)], { type: "model/gltf-binary" }), `${name}.glb`);
  });
  on("turn", "click", async () => turn(!screen.viewer.turning));
  for (const event of ["pointerdown", "keydown"]) $("mesh").addEventListener(event, () => screen.viewer?.turning && turn(false));
  return async () => {
    if (screen.mesh) await make(editor(), screen.prompt);
  };
}

/** Make a mesh and show it; asked again meanwhile, the mesh before is given up. */
async function make(editor, prompt) {
  if (!editor) throw new EdgekitError("no model is loaded", "choose another one");
  screen.making?.abort();
  const { signal } = (screen.making = new AbortController());
  say("Making the mesh.");
  try {
    const start = performance.now();
    const mesh = await editor.make(prompt, { signal, report: progress });
    if (signal.aborted) return;
    Object.assign(screen, { mesh, prompt });
    const took = performance.now() - start;
    const problem = drawn(mesh);
    describe(mesh, prompt, took);
    say(problem || "Done. Turn it by dragging or with the arrow keys.", Boolean(problem));
  } finally {
    if (screen.making?.signal === signal) {
      screen.making = null;
      progress(0, 0);
    }
  }
}

/** Draw a mesh; a browser without WebGL 2 is no reason to lose it. Returns what went wrong. */
function drawn(mesh) {
  try {
    if (!screen.viewer) {
      screen.viewer = new Viewer($("mesh"));
      turn(!matchMedia("(prefers-reduced-motion: reduce)").matches);
    }
  } catch (error) {
    if (!(error instanceof EdgekitError)) throw error;
    return error.message;
  }
  screen.viewer.show(mesh);
  return "";
}

function progress(done, total) {
  $("carving").hidden = done >= total;
  $("carving").max = total || 1;
  $("carving").value = done;
}

function describe(mesh, prompt, total) {
  const [vertices, triangles] = [mesh.positions.length / 3, mesh.triangles.length / 3];
  $("mesh").setAttribute("aria-label", `A mesh of ${prompt}; arrow keys turn it, plus and minus move the camera, Home brings it back`);
  for (const [name, ms] of Object.entries({ ...mesh.spent, total })) $(`spent-${name}`).textContent = shown(ms);
  $("spent").hidden = false;
  $("mesh-facts").textContent = `${vertices.toLocaleString("en")} vertices, ${triangles.toLocaleString("en")} triangles.`;
  $("save-mesh").disabled = false;
  $("turn").disabled = !screen.viewer;
  document.body.dataset.mesh = JSON.stringify({ prompt, vertices, triangles, total, ...mesh.spent });
  document.body.dataset.made = String(Number(document.body.dataset.made ?? 0) + 1);
}

function turn(on) {
  screen.viewer.turn(on);
  $("turn").setAttribute("aria-pressed", String(on));
}
