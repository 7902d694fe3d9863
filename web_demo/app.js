/** The page: wires the controls to an editor. All computing is in core/ and engines/. */
import { latestFrames } from "./camera.js";
import { Editor, openBundle } from "./core/editor.js";
import { EdgekitError } from "./core/errors.js";
import { overWhite, toCanvas } from "./core/pixels.js";
import { summary } from "./core/statistics.js";
import { sampleScene } from "./sample.js";

const $ = (id) => document.getElementById(id);
const state = { bundle: null, editor: null, source: null, camera: null, busy: false, again: false, rows: [] };

function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

/** Run `work`; what goes wrong becomes a sentence. */
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    const known = error instanceof EdgekitError;
    say(known ? error.message : `Something failed: ${error.message}`, true);
    if (!known) console.error(error);
  }
}

function options(select, rows, chosen) {
  select.replaceChildren(...rows.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

async function start() {
  if ("serviceWorker" in navigator) {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    if (!self.crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
      sessionStorage.setItem("reloaded", "1"); // once: the worker adds the headers from now on
      location.reload();
      return;
    }
  }
  const site = await (await fetch("site.json")).json();
  options($("bundle"), site.bundles.map((row) => [row.path, row.name]), site.bundles[0].path);
  $("bundles").hidden = site.bundles.length < 2;
  await openChosenBundle();
  wire();
  document.body.dataset.ready = "yes";
  if (new URLSearchParams(location.search).has("bench")) {
    $("bench").open = true;
    await guarded(check);
    await guarded(measure);
    document.body.dataset.bench = "done";
  }
}

async function openChosenBundle() {
  state.bundle = await openBundle(new URL(`${$("bundle").value}/`, document.baseURI).href);
  const { manifest, models } = state.bundle;
  $("title").textContent = manifest.adapter_input ? "edgekit: one base, many concepts" : manifest.prompt || manifest.name;
  options($("model"), models.map((entry, i) => [String(i), `${entry.format} ${entry.precision}, ${(entry.bytes / 1e6).toFixed(2)} MB`]), "0");
  const concepts = manifest.concepts ?? [];
  $("concepts").hidden = !manifest.adapter_input;
  options($("first"), concepts.map((row) => [row.name, row.prompt]), concepts[0]?.name);
  options($("second"), [["", "none"], ...concepts.map((row) => [row.name, row.prompt])], "");
  await openModel();
}

/** Load the chosen file, then let go of the one before: there is always a usable one. */
async function openModel() {
  const entry = state.bundle.models[Number($("model").value)];
  say(`Loading ${entry.path}.`);
  const before = state.editor;
  const editor = await Editor.open(state.bundle, entry, $("accelerator").value);
  state.editor = editor;
  before?.close();
  await useConcepts();
  const { note, accelerator } = editor.engine;
  const names = { wasm: "the processor", webgpu: "the graphics card" };
  $("engine").textContent = `${entry.format} ${entry.precision} on ${names[accelerator]}, loaded in ${editor.loadMs.toFixed(0)} ms.${note ? ` ${note}` : ""}`;
  say("Ready.");
  document.body.dataset.engine = `${entry.format} ${accelerator}`;
  for (const id of ["measure", "check"]) $(id).disabled = false;
}

async function useConcepts() {
  if (!state.editor?.adapter) return;
  const [first, second] = [$("first").value, $("second").value];
  $("mixing").hidden = !second || second === first;
  const share = Number($("mix").value) / 100;
  $("mix").setAttribute("aria-valuetext", `${$("mix").value} percent`);
  const weights = $("mixing").hidden || share === 0 ? { [first]: 1 } : share === 1 ? { [second]: 1 } : { [first]: 1 - share, [second]: share };
  const exact = await state.editor.use(weights);
  if (!exact) say("The blend is cut to what the base has room for.");
}

/** Show a picture (anything that a canvas draws) and edit it. */
async function show(picture, width, height) {
  const longest = Number($("side").value) || Math.max(width, height);
  const factor = Math.min(1, longest / Math.max(width, height));
  const canvas = $("before");
  canvas.width = $("after").width = Math.max(1, Math.round(width * factor));
  canvas.height = $("after").height = Math.max(1, Math.round(height * factor));
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  delete $("stage").dataset.empty;
  await edit();
}

/** Edit what stands in the canvas; a call during an edit makes one more, not a queue. */
async function edit() {
  if (state.busy) {
    state.again = true;
    return;
  }
  state.busy = true;
  try {
    do {
      state.again = false;
      const { width, height } = $("before");
      const image = $("before").getContext("2d").getImageData(0, 0, width, height);
      const made = await state.editor.edit(overWhite(image), async (done, total) => {
        if (total > 4 && !state.camera) say(`Tile ${done} of ${total}.`);
      });
      $("after").width = width;
      $("after").height = height;
      $("after").getContext("2d").putImageData(new ImageData(toCanvas(made.photo), width, height), 0, 0);
      const perTile = made.model / made.tiles;
      $("latency").textContent =
        `${width} x ${height}: preparing ${made.pre.toFixed(1)} ms, model ${made.model.toFixed(1)} ms ` +
        `(${made.tiles} ${made.tiles === 1 ? "tile" : "tiles"}, ${perTile.toFixed(1)} ms each), finishing ${made.post.toFixed(1)} ms; ` +
        `the file's first call took ${state.editor.first.toFixed(1)} ms`;
      $("save").disabled = false;
      if (!state.camera) say("Done.");
      document.body.dataset.edited = String(Number(document.body.dataset.edited ?? 0) + 1);
      await new Promise((resume) => setTimeout(resume)); // let the page breathe between frames
    } while (state.again);
  } finally {
    state.busy = false;
  }
}

async function openFile(file) {
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new EdgekitError(`${file.name || "the file"} is not a picture that this browser can read`, "choose a JPEG, PNG or WebP");
  }
  state.source = bitmap;
  await show(bitmap, bitmap.width, bitmap.height);
}

async function toggleCamera() {
  if (state.camera) return stopCamera();
  $("side").value = "256";
  state.camera = await latestFrames(async (video) => {
    const side = Math.min(video.videoWidth, video.videoHeight);
    const square = document.createElement("canvas");
    square.width = square.height = side;
    square.getContext("2d").drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, side, side);
    await show(square, side, side);
    document.body.dataset.frames = String(Number(document.body.dataset.frames ?? 0) + 1);
  });
  $("camera").setAttribute("aria-pressed", "true");
  say("Live: frames that come while one is edited are dropped.");
}

function stopCamera() {
  state.camera?.stop();
  state.camera = null;
  $("camera").setAttribute("aria-pressed", "false");
}

async function measure() {
  const editor = state.editor;
  const [height, width] = editor.tile;
  const tile = { width, height, data: new Uint8Array(width * height * 3).map((_, i) => (i * 7) % 256) };
  const calls = Math.min(500, Math.max(1, Number($("calls").value) || 30));
  const ms = [];
  for (let i = 0; i < calls + 3; i++) {
    const { model } = await editor.edit(tile);
    if (i >= 3) ms.push(model);
    if (i % 5 === 0) {
      say(`Call ${i} of ${calls + 3}.`);
      await new Promise((resume) => setTimeout(resume));
    }
  }
  const found = summary(ms);
  const { entry, engine } = editor;
  state.rows.push({ file: entry.path, sha256: entry.sha256, accelerator: engine.accelerator, load_ms: editor.loadMs, first_ms: editor.first, ...found, samples_ms: ms });
  const cells = [`${entry.format} ${entry.precision}`, engine.accelerator, editor.loadMs, editor.first, found.p50_ms, found.p90_ms];
  const row = $("results").insertRow();
  for (const value of cells) row.insertCell().textContent = typeof value === "number" ? value.toFixed(1) : (value ?? "–");
  $("export").disabled = false;
  say(found.warnings.length ? `Measured, but ${found.warnings.join("; ")}.` : "Measured.");
}

async function check() {
  const { worst, samples } = await state.editor.golden();
  const bar = state.editor.entry.precision === "fp32" ? 1e-4 : null;
  const verdict = bar === null ? "" : worst <= bar ? " It passes (1e-4)." : " It fails (1e-4).";
  $("checked").textContent = `Largest difference from PyTorch on ${samples} golden samples: ${worst.toExponential(1)}; black to white is 2.${verdict}`;
  document.body.dataset.golden = String(worst);
}

function exportJson() {
  const data = {
    protocol: "web-latency-1",
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    isolated: self.crossOriginIsolated,
    bundle: state.bundle.manifest.name,
    rows: state.rows,
  };
  download(new Blob([JSON.stringify(data, null, 1)], { type: "application/json" }), "edgekit-bench.json");
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function setSplit(percent) {
  const value = Math.min(100, Math.max(0, percent));
  $("split").value = String(value);
  $("frame").style.setProperty("--split", `${value}%`);
  $("split").setAttribute("aria-valuetext", `${Math.round(value)} percent before, ${Math.round(100 - value)} percent after`);
}

function wire() {
  const on = (id, event, work) => $(id).addEventListener(event, (e) => guarded(() => work(e)));
  on("file", "change", async () => $("file").files[0] && openFile($("file").files[0]));
  on("sample", "click", async () => {
    stopCamera();
    state.source = sampleScene();
    await show(state.source, state.source.width, state.source.height);
  });
  on("camera", "click", toggleCamera);
  on("save", "click", async () => {
    const blob = await new Promise((done) => $("after").toBlob(done, "image/png"));
    download(blob, `${state.bundle.manifest.name}.png`);
  });
  on("bundle", "change", openChosenBundle);
  for (const id of ["model", "accelerator"]) {
    on(id, "change", async () => {
      await openModel();
      if (state.source) await edit();
    });
  }
  on("side", "change", async () => state.source && !state.camera && show(state.source, state.source.width, state.source.height));
  for (const id of ["first", "second", "mix"]) {
    on(id, "input", async () => {
      await useConcepts();
      if (!("empty" in $("stage").dataset)) await edit();
    });
  }
  on("measure", "click", measure);
  on("check", "click", check);
  on("export", "click", async () => exportJson());
  on("split", "input", async () => setSplit(Number($("split").value)));
  on("frame", "pointermove", async (e) => {
    if (!e.buttons) return;
    const box = $("frame").getBoundingClientRect();
    setSplit(((e.clientX - box.left) / box.width) * 100);
  });
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
