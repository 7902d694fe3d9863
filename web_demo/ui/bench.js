/** The benchmark: raw samples kept, a history on this device, JSON out, and runs that a harness starts. */
import { EdgekitError } from "../core/errors.js";
import { summary } from "../core/statistics.js";
import { $, download, say } from "./dom.js";

export const PROTOCOL = "web-latency-2";
const KEY = "edgekit-bench";
const KEPT = 40;
const CHUNK = 5;

let rows = stored();
let base = 0;

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // no storage, or not ours
  }
}

function store() {
  try {
    localStorage.setItem(KEY, JSON.stringify(rows));
  } catch {
    // full or forbidden: the history lasts as long as the page
  }
}

/** Facts about this browser that a latency belongs to. */
export function host() {
  return {
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    memory_gb: navigator.deviceMemory ?? null,
    isolated: self.crossOriginIsolated,
  };
}

/**
 * Time a loaded model on one tile: its first call, `warmup` calls, then calls until there are `calls` of them and
 * `seconds` have passed. Every line of `tell` is one JSON object.
 *
 * @param {import("../core/remote.js").RemoteEditor} editor
 * @param {{calls: number, warmup: number, seconds?: number}} plan
 * @param {(line: Record<string, unknown>) => void} tell
 */
export async function measured(editor, { calls, warmup, seconds = 0 }, tell = () => {}) {
  const { entry, engine, startMs, loadMs } = editor;
  const facts = {
    bundle: editor.bundle.manifest.name, file: entry.path, sha256: entry.sha256, format: entry.format, precision: entry.precision,
    accelerator: engine.accelerator, threads: engine.threads, note: engine.note,
  };
  tell({ event: "start", protocol: PROTOCOL, time: new Date().toISOString(), ...host(), ...facts });
  tell({ event: "loaded", engine_ms: startMs, load_ms: loadMs });
  const { first } = await editor.repeat(1);
  tell({ event: "first", ms: first });
  await editor.repeat(warmup);
  tell({ event: "warm", calls: warmup });
  const ms = [];
  const start = performance.now();
  while (ms.length < calls || performance.now() - start < seconds * 1000) {
    const made = (await editor.repeat(Math.min(CHUNK, Math.max(1, calls - ms.length)))).ms;
    for (const value of made) tell({ event: "run", i: ms.push(value) - 1, ms: value });
    say(`Call ${ms.length} of ${Math.max(calls, ms.length)}.`);
  }
  const found = summary(ms);
  tell({ event: "end", ...found });
  return { time: new Date().toISOString(), ...facts, engine_ms: startMs, load_ms: loadMs, first_ms: first, warmup, ...found, samples_ms: ms };
}

/** Add a row to the history and show it. */
export function remember(row) {
  rows = [...rows, row].slice(-KEPT);
  store();
  showRows();
}

/** Let go of the history. */
export function forget() {
  rows = [];
  base = 0;
  store();
  showRows();
}

/** Fill the table: each row against the chosen one. */
export function showRows() {
  base = Math.min(base, Math.max(0, rows.length - 1));
  $("results").replaceChildren(...rows.map(tableRow));
  $("table").hidden = !rows.length;
  for (const id of ["export", "forget"]) $(id).disabled = !rows.length;
}

function tableRow(row, number) {
  const line = document.createElement("tr");
  const choose = Object.assign(document.createElement("input"), { type: "radio", name: "base", checked: number === base });
  choose.setAttribute("aria-label", `compare with measurement ${number + 1}`);
  choose.addEventListener("change", () => {
    base = number;
    showRows();
    document.querySelectorAll("#results input")[number].focus();
  });
  line.insertCell().append(choose);
  const unit = row.accelerator === "webgpu" ? "WebGPU" : `wasm, ${row.threads} ${row.threads === 1 ? "thread" : "threads"}`;
  const times = row.p50_ms / rows[base].p50_ms;
  const cells = [`${row.bundle}: ${row.format} ${row.precision}`, row.p50_ms, row.p90_ms, row.p99_ms, times.toFixed(2), row.first_ms, row.load_ms, unit];
  for (const value of cells) line.insertCell().textContent = typeof value === "number" ? value.toFixed(1) : (value ?? "–");
  if (row.warnings.length) line.title = row.warnings.join("; ");
  return line;
}

/** Save all rows with their samples. */
export function exportJson() {
  const data = { protocol: PROTOCOL, ...host(), rows };
  download(new Blob([JSON.stringify(data, null, 1)], { type: "application/json" }), "edgekit-bench.json");
}

/** Say how far the model is from PyTorch. */
export function verdict({ max_abs, worst_db, samples }, precision) {
  const bars = { fp32: [max_abs <= 1e-4, "at most 1e-4"], fp16: [worst_db >= 55, "at least 55 dB"], int8: [worst_db >= 35, "at least 35 dB"], mixed: [worst_db >= 35, "at least 35 dB"] };
  const [passes, bar] = bars[precision];
  const off = `Largest difference from PyTorch on ${samples} golden samples: ${max_abs.toExponential(1)} (black to white is 2), worst sample ${worst_db.toFixed(1)} dB.`;
  return { passes, text: `${off} It ${passes ? "passes" : "fails"}: ${bar} for ${precision}.` };
}

/**
 * Run what the page's address asks for: ?bench=1&bundle=NAME&model=PATH&accelerator=wasm&threads=1&concept=NAME&calls=30&warmup=5&seconds=0.
 * Lines go to the console ("edgekit-bench {…}") and into #lines; body[data-bench] becomes done or failed.
 *
 * @param {URLSearchParams} asked
 * @param {(asked: URLSearchParams) => Promise<any>} open returns the editor of what is asked for
 */
export async function autorun(asked, open) {
  const tell = (line) => {
    const text = JSON.stringify(line);
    console.log(`edgekit-bench ${text}`);
    $("lines").textContent += `${text}\n`;
  };
  $("bench").open = true;
  document.body.dataset.bench = "running";
  try {
    const number = (name, fallback, least, most) => {
      const value = Number(asked.get(name) ?? fallback);
      if (!(value >= least && value <= most)) throw new EdgekitError(`${name}=${asked.get(name)} is no number from ${least} to ${most}`, "change the page's address");
      return value;
    };
    const plan = { calls: number("calls", 30, 1, 1e5), warmup: number("warmup", 5, 0, 1e4), seconds: number("seconds", 0, 0, 3600) };
    const editor = await open(asked);
    const row = await measured(editor, plan, tell);
    const found = await editor.golden();
    const { passes, text } = verdict(found, row.precision);
    tell({ event: "accuracy", ...found, passes });
    $("checked").textContent = text;
    remember(row);
    say("Measured.");
    document.body.dataset.bench = "done";
  } catch (error) {
    tell({ event: "failed", what: error.what ?? error.message, hint: error.hint ?? "" });
    say(error.message, true);
    document.body.dataset.bench = "failed";
  }
}
