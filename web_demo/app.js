/** The page: wires the controls to a model in a worker. Computing is in core/ and engines/, the parts of the page in ui/. */
import { latestFrames } from "./camera.js";
import { openBundle } from "./core/editor.js";
import { EdgekitError } from "./core/errors.js";
import { Cancelled, RemoteEditor } from "./core/remote.js";
import { sampleScene } from "./sample.js";
import { autorun, exportJson, forget, measured, remember, showRows, verdict } from "./ui/bench.js";
import { chosenWeights, showConcepts } from "./ui/concepts.js";
import { $, download, guarded, on, options, say, shown } from "./ui/dom.js";
import { FORM as MESH, showMeshScreen, wireMesh } from "./ui/mesh.js";
import { enrolAgain, FORM as RESTORER, isSample, portraitChanged, portraitDone, portraitProgress, showPortraitScreen, showSample, wirePortrait } from "./ui/portrait.js";
import { drawAfter, drawBefore, Latency, pixelsBefore, setSplit, showTiles } from "./ui/stage.js";

const asked = new URLSearchParams(location.search);
const here = asked.get("worker") === "0"; // on the page's thread, to see what the worker is good for
const latency = new Latency();
const page = { bundle: null, editor: null, source: null, camera: null, edits: null, again: false, opening: Promise.resolve(), frameEnd: 0, nets: [] };
const PURPOSE = { [MESH]: "Makes 3D objects of words", [RESTORER]: "Restores faces in photos" };
let makeAgain = async () => {}; // the mesh of the same words

async function start() {
  wire();
  showRows();
  const most = Math.min(8, navigator.hardwareConcurrency || 1);
  const counts = Array.from({ length: most }, (_, i) => [String(i + 1), String(i + 1)]);
  options($("threads"), counts, String(Math.min(4, most)));
  if ("serviceWorker" in navigator) await isolated();
  const site = await (await fetch("site.json")).json();
  page.nets = site.nets ?? [];
  options($("bundle"), site.bundles.map((row) => [row.path, row.name]), site.bundles[0].path);
  $("bundles").hidden = site.bundles.length < 2;
  if (asked.has("bench")) await autorun(asked, openAsked);
  else await guarded(openChosenBundle);
  document.body.dataset.ready = "yes";
}

/** The service worker adds the headers of isolation; the first visit is loaded once more to have them. */
async function isolated() {
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
  } catch (error) {
    say(`This visit is not kept for use without a network: ${error.message}`);
    return;
  }
  if (self.crossOriginIsolated || sessionStorage.getItem("reloaded")) return;
  sessionStorage.setItem("reloaded", "1");
  location.reload();
  await new Promise(() => {}); // the page ends here
}

/** Open what the address of a benchmark names; a wrong name is refused with the right ones. */
async function openAsked() {
  const pick = (name, select, fit) => {
    if (!asked.has(name)) return;
    const found = [...$(select).options].find((option) => fit(option, asked.get(name)));
    if (!found) throw new EdgekitError(`there is no ${name} ${asked.get(name)}`, `one of: ${[...$(select).options].map((option) => option.dataset.path ?? option.text).join(", ")}`);
    $(select).value = found.value;
  };
  pick("bundle", "bundle", (option, name) => option.text === name);
  pick("accelerator", "accelerator", (option, name) => option.value === name);
  pick("threads", "threads", (option, name) => option.value === name);
  await readBundle();
  pick("model", "model", (option, name) => option.dataset.path === name);
  if (asked.has("concept")) {
    const chip = [...document.querySelectorAll("#chips input")].find((input) => input.value === asked.get("concept"));
    if (!chip) throw new EdgekitError(`there is no concept ${asked.get("concept")}`, "name one of the bundle's");
    chip.checked = true;
  }
  await openModel();
  return page.editor;
}

async function readBundle() {
  const bundle = await openBundle(new URL(`${$("bundle").value}/`, document.baseURI).href);
  const { manifest, models } = bundle;
  page.bundle = Object.assign(bundle, { nets: page.nets });
  $("title").textContent = manifest.adapter_input ? "edgekit: one base, many concepts" : `edgekit: ${manifest.prompt || manifest.name}`;
  document.title = $("title").textContent;
  options($("model"), models.map((entry, i) => [String(i), `${entry.format} ${entry.precision}, ${(entry.bytes / 1e6).toFixed(2)} MB`]), "0");
  models.forEach((entry, i) => ($("model").options[i].dataset.path = entry.path));
  showConcepts(manifest, () => guarded(changeConcept));
  showMeshScreen(manifest);
  showPortraitScreen(manifest);
  if (manifest.form in PURPOSE) stopCamera(); // live video is for editors
  $("subtitle").textContent = `${PURPOSE[manifest.form] ?? "Edits photos"} on this device. Nothing is sent anywhere.`;
}

async function openChosenBundle() {
  await readBundle();
  await openModel();
}

/** Load the chosen file in a worker of its own, then let go of the one before: there is always a usable one. */
async function openModel() {
  const opening = page.opening.catch(() => {}).then(loadModel); // one after another
  page.opening = opening;
  await opening;
}

async function loadModel() {
  const bundle = page.bundle;
  const entry = bundle.models[Number($("model").value)];
  say(`Loading ${entry.path}.`);
  const wanted = { accelerator: $("accelerator").value, threads: Number($("threads").value) };
  const editor = await RemoteEditor.open(bundle, entry, wanted, { here });
  const before = page.editor;
  page.editor = editor;
  page.edits?.abort();
  before?.close();
  latency.clear();
  await useConcepts();
  if (bundle.manifest.form === RESTORER) await enrolAgain(editor);
  const { note, accelerator, threads } = editor.engine;
  const unit = accelerator === "webgpu" ? "the graphics card" : `the processor, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  $("engine").textContent = `${entry.format} ${entry.precision} on ${unit}; engine started in ${shown(editor.startMs)}, file loaded in ${shown(editor.loadMs)}.`;
  $("note").textContent = note;
  $("note").hidden = !note;
  say("Ready.");
  document.body.dataset.engine = `${entry.format} ${accelerator}`;
  document.body.dataset.models = String(Number(document.body.dataset.models ?? 0) + 1);
  for (const id of ["measure", "check"]) $(id).disabled = false;
}

async function useConcepts() {
  if (!page.editor?.bundle.manifest.adapter_input) return;
  const exact = await page.editor.use(chosenWeights());
  $("blend").textContent = exact ? "" : "This blend is more than the base has room for: the nearest that fits is used.";
}

async function changeConcept() {
  await useConcepts();
  await editAgain();
}

async function editAgain() {
  if (page.bundle.manifest.form === MESH) return makeAgain();
  if (page.bundle.manifest.form === RESTORER && isSample()) return showSample(page.editor, false);
  if (page.source && !page.camera) await show(page.source, page.source.width, page.source.height);
}

/** Show a picture (anything that a canvas draws) and edit it. */
async function show(picture, width, height) {
  if (!page.editor) throw new EdgekitError("no model is loaded", "choose another one");
  if (page.bundle.manifest.form === MESH) throw new EdgekitError("this model takes words, not photos", "write what it should make");
  drawBefore(picture, width, height, Number($("side").value));
  await edit();
}

/** Edit what stands in the canvas. Asked for again meanwhile, it gives up the tiles left and starts anew: never a queue. */
async function edit() {
  page.again = true;
  page.edits?.abort();
  if (page.edits) return;
  try {
    while (page.again) {
      page.again = false;
      page.edits = new AbortController();
      await editOnce(page.edits.signal).catch((error) => {
        if (!(error instanceof Cancelled)) throw error;
      });
    }
  } finally {
    page.edits = null;
    showTiles(0, 0);
  }
}

async function editOnce(signal) {
  const { editor, source } = page;
  const image = pixelsBefore();
  const { width, height } = image;
  const restorer = page.bundle.manifest.form === RESTORER;
  const report = (done, total) => {
    if (restorer) portraitProgress(done, total);
    else if (done === 1 && total > 2 && !page.camera) say("Editing.");
    showTiles(done, total);
  };
  const made = await editor.edit(image, { report, signal });
  drawAfter(made.data, width, height);
  const words = made.faces && source === page.source ? await portraitDone(editor, made) : "Done.";
  const now = performance.now();
  latency.show(made, width, height, page.camera && page.frameEnd ? now - page.frameEnd : 0);
  page.frameEnd = now;
  for (const id of ["save", "share"]) $(id).disabled = false;
  if (!page.camera) say(words);
  document.body.dataset.edited = String(Number(document.body.dataset.edited ?? 0) + 1);
}

async function openFile(file) {
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new EdgekitError(`${file.name || "the file"} is not a picture that this browser can read`, "choose a JPEG, PNG or WebP");
  }
  page.source?.close?.();
  page.source = bitmap;
  if (page.bundle?.manifest.form === RESTORER) await portraitChanged(page.editor);
  await show(bitmap, bitmap.width, bitmap.height);
}

async function toggleCamera() {
  if (page.camera) return stopCamera();
  $("side").value = "256";
  const square = document.createElement("canvas");
  const work = async (video) => {
    const side = Math.min(video.videoWidth, video.videoHeight);
    square.width = square.height = side;
    square.getContext("2d").drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, side, side);
    await show(square, side, side);
    page.source = square;
    document.body.dataset.frames = String(Number(document.body.dataset.frames ?? 0) + 1);
  };
  page.frameEnd = 0;
  page.camera = await latestFrames(work, (error) => {
    stopCamera();
    guarded(() => Promise.reject(error));
  });
  $("camera").setAttribute("aria-pressed", "true");
  say("Live: frames that come while one is edited are dropped.");
}

function stopCamera() {
  if (!page.camera) return;
  page.camera.stop();
  say(`Stopped. ${page.camera.edited} frames were edited, ${page.camera.dropped()} dropped.`);
  page.camera = null;
  $("camera").setAttribute("aria-pressed", "false");
}

async function result() {
  const blob = await new Promise((done) => $("after").toBlob(done, "image/png"));
  return new File([blob], `${page.bundle.manifest.name}.png`, { type: "image/png" });
}

async function measure() {
  const calls = Math.min(5000, Math.max(1, Math.round(Number($("calls").value)) || 30));
  const row = await measured(page.editor, { calls, warmup: 3 });
  remember(row);
  say(row.warnings.length ? `Measured, but ${row.warnings.join("; ")}.` : "Measured.");
}

async function check() {
  say("Comparing with the golden vectors.");
  const found = await page.editor.golden();
  $("checked").textContent = verdict(found, page.editor.entry.precision).text;
  document.body.dataset.golden = JSON.stringify(found);
  say("Compared.");
}

/** Do `work` for a choice; if it fails, choose again what is in use. */
function choice(id, work) {
  let used = null;
  $(id).addEventListener("focus", () => (used = $(id).value));
  on(id, "change", async () => {
    try {
      await work();
    } catch (error) {
      if (used !== null) $(id).value = used;
      throw error;
    }
    used = $(id).value;
  });
}

function wire() {
  on("file", "change", async () => $("file").files[0] && openFile($("file").files[0]));
  on("sample", "click", async () => {
    stopCamera();
    if (page.bundle?.manifest.form === RESTORER) return showSample(page.editor);
    page.source = sampleScene();
    await show(page.source, page.source.width, page.source.height);
  });
  on("camera", "click", toggleCamera);
  on("save", "click", async () => {
    const file = await result();
    download(file, file.name);
  });
  $("share").hidden = !navigator.canShare?.({ files: [new File([], "x.png", { type: "image/png" })] });
  on("share", "click", async () => navigator.share({ files: [await result()] }).catch((error) => {
    if (error.name !== "AbortError") throw error; // the person thought better of it
  }));
  choice("bundle", async () => {
    await openChosenBundle();
    await editAgain();
  });
  for (const id of ["model", "accelerator", "threads"]) {
    choice(id, async () => {
      await openModel();
      await editAgain();
    });
  }
  makeAgain = wireMesh(() => page.editor);
  wirePortrait(() => page.editor, editAgain);
  on("side", "change", editAgain);
  for (const id of ["second", "mix"]) on(id, "input", changeConcept);
  on("measure", "click", measure);
  on("check", "click", check);
  on("export", "click", async () => exportJson());
  on("forget", "click", async () => forget());
  on("split", "input", async () => setSplit(Number($("split").value)));
  const stage = $("stage");
  for (const name of ["dragover", "dragleave", "drop"]) {
    stage.addEventListener(name, (e) => {
      e.preventDefault();
      stage.classList.toggle("over", name === "dragover");
      const file = name === "drop" ? e.dataTransfer.files[0] : null;
      if (file) guarded(() => openFile(file));
    });
  }
  document.addEventListener("paste", (e) => {
    const file = [...e.clipboardData.files].find((item) => item.type.startsWith("image/"));
    if (file) guarded(() => openFile(file));
  });
  document.addEventListener("visibilitychange", () => document.hidden && stopCamera());
  setSplit(50);
}

guarded(start);
