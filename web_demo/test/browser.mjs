/**
 * The page in a real browser: `node browser.mjs URL SCRATCH` prints one JSON object of facts, which
 * tests/runtime/test_web_app.py judges. SCRATCH holds photo.png; the site must be served at URL, and
 * stops being served when the file SCRATCH/stop appears (the test does that for the offline part).
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const [url, scratch] = process.argv.slice(2);
const require = createRequire(path.join(process.env.EDGEKIT_NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
];
const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader"];
const facts = { requests: [], errors: [], lines: [] };
const profile = mkdtempSync(path.join(tmpdir(), "edgekit-browser-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.EDGEKIT_CHROMIUM,
  headless: true,
  args: FLAGS,
  viewport: { width: 820, height: 1180 },
});
const page = await context.newPage();
context.on("request", (request) => facts.requests.push(request.url()));
page.on("pageerror", (error) => facts.errors.push(error.message));
page.on("console", (message) => {
  const said = message.text();
  if (said.includes("Content Security Policy")) facts.errors.push(said);
  if (said.startsWith("edgekit-bench ")) facts.lines.push(said.slice("edgekit-bench ".length));
});

const wait = (selector) => page.waitForSelector(selector, { timeout: 60_000 });
const value = (name) => page.evaluate((key) => document.body.dataset[key], name);
const text = (id) => page.textContent(`#${id}`);
const edits = async (count) => page.waitForFunction((n) => Number(document.body.dataset.edited ?? 0) >= n, count, { timeout: 60_000 });
/** Choose an option of a select that loads a model, and wait for it and for the picture that it edits. */
const loadedBy = async (selector, option) => {
  const [models, done] = [Number(await value("models")), Number((await value("edited")) ?? 0)];
  await page.selectOption(selector, option);
  await page.waitForFunction((n) => Number(document.body.dataset.models) > n, models, { timeout: 60_000 });
  await edits(done + 1);
};
const violations = async () =>
  page.evaluate(`(async () => { ${axe}; const found = await axe.run(); return found.violations.map((v) => v.id + ": " + v.nodes[0].html); })()`);
const pixels = () =>
  page.evaluate(() => {
    const canvas = document.getElementById("after");
    return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
  });

try {
  await page.goto(url);
  await wait("body[data-ready]");
  facts.isolated = await page.evaluate(() => self.crossOriginIsolated);
  facts.empty = await violations();

  // A photo by the file picker, then the slider by the keyboard.
  await page.setInputFiles("#file", path.join(scratch, "photo.png"));
  await edits(1);
  facts.first = { engine: await value("engine"), latency: await text("latency"), pixels: await pixels(), workers: page.workers().length };
  await page.click("#settings > summary");
  facts.first.engineSaid = await text("engine");
  await page.focus("#split");
  const before = await page.inputValue("#split");
  for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowRight");
  facts.slider = [before, await page.inputValue("#split"), await page.getAttribute("#split", "aria-valuetext")];
  facts.light = await violations();
  await page.emulateMedia({ colorScheme: "dark" });
  facts.dark = await violations();
  facts.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.screenshot({ path: path.join(scratch, "dark.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "light" });
  const moves = () => page.evaluate(() => getComputedStyle(document.querySelector("#bar i")).transitionDuration);
  facts.motion = [await moves()];
  await page.emulateMedia({ reducedMotion: "reduce" });
  facts.motion.push(await moves());
  facts.wide = [];
  for (const width of [320, 820, 1400]) {
    await page.setViewportSize({ width, height: 800 });
    facts.wide.push(await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth));
  }
  await page.setViewportSize({ width: 820, height: 1180 });

  // Every file of the bundle against Python's golden vectors, in this browser.
  await page.click("#bench > summary");
  facts.golden = {};
  const files = await page.$$eval("#model option", (rows) => rows.map((row) => [row.value, row.textContent]));
  for (const [choice, name] of files) {
    await page.evaluate(() => delete document.body.dataset.golden);
    await loadedBy("#model", choice);
    await page.click("#check");
    await wait("body[data-golden]");
    facts.golden[name] = JSON.parse(await value("golden"));
  }
  await page.fill("#calls", "12");
  await page.click("#measure");
  await wait("#results tr");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
  facts.exported = JSON.parse(readFileSync(await download.path(), "utf8"));

  // WebGPU where there may be none: it runs all the same, and says on what.
  await loadedBy("#model", "0");
  await loadedBy("#accelerator", "webgpu");
  facts.webgpu = { engine: await value("engine"), said: await text("engine"), note: await text("note"), noted: await page.isVisible("#note") };
  await loadedBy("#accelerator", "wasm");

  // Paste and drop.
  const photo = [...readFileSync(path.join(scratch, "photo.png"))];
  for (const [kind, selector] of [["paste", "body"], ["drop", "#stage"]]) {
    const done = Number(await value("edited"));
    await page.evaluate(
      ([bytes, event, target]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
        const made = event === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true }) : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector(target).dispatchEvent(made);
      },
      [photo, kind, selector],
    );
    await edits(done + 1);
    facts[kind] = true;
  }
  await page.setInputFiles("#file", { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("not a picture") });
  await page.waitForFunction(() => document.getElementById("status").classList.contains("error"));
  facts.broken = await text("status");

  // The live camera.
  await page.click("#camera");
  await page.waitForFunction(() => Number(document.body.dataset.frames ?? 0) >= 5, null, { timeout: 60_000 });
  facts.pressed = await page.getAttribute("#camera", "aria-pressed");
  await page.click("#camera");
  facts.frames = Number(await value("frames"));

  // The second bundle is a base: concepts are switched and mixed without loading a model.
  const live = Number(await value("edited"));
  await page.click("#sample");
  await edits(live + 1);
  const bundles = await page.$$eval("#bundle option", (rows) => rows.map((row) => row.value));
  if (bundles.length > 1) {
    await loadedBy("#bundle", bundles[1]);
    await wait("#concepts:not([hidden])");
    const known = Number(await value("edited"));
    await page.setInputFiles("#file", path.join(scratch, "photo.png"));
    await edits(known + 1);
    const loads = () => facts.requests.filter((request) => request.endsWith(".onnx")).length;
    const names = await page.$$eval("#chips input", (rows) => rows.map((row) => row.value));
    await page.check(`#chips input[value="${names[1]}"]`);
    await edits(known + 2);
    const pictures = [];
    const loaded = loads();
    for (const name of names) {
      const done = Number(await value("edited"));
      await page.check(`#chips input[value="${name}"]`);
      await edits(done + 1);
      pictures.push(await pixels());
    }
    const done = Number(await value("edited"));
    await page.selectOption("#second", names[0]);
    await edits(done + 1);
    facts.base = { names, pictures, mixed: await pixels(), loads: loads() - loaded, golden: null };
    await page.evaluate(() => delete document.body.dataset.golden);
    await page.click("#check");
    await wait("body[data-golden]");
    facts.base.golden = JSON.parse(await value("golden"));
    // A choice in the middle of a large photo gives up the tiles that are left: the last choice wins.
    const large = { name: "large.png", mimeType: "image/png", buffer: readFileSync(path.join(scratch, "large.png")) };
    await page.selectOption("#second", "");
    await page.selectOption("#side", "0");
    await page.setInputFiles("#file", large);
    for (const name of [...names, ...names]) await page.check(`#chips input[value="${name}"]`);
    await page.waitForFunction(() => document.getElementById("status").textContent === "Done.");
    await page.waitForTimeout(300);
    facts.base.large = await pixels();
    await page.screenshot({ path: path.join(scratch, "base.png"), fullPage: true });
  }

  // What a harness starts by the page's address, and what it is told when that is wrong.
  const automatic = async (words) => {
    facts.lines.length = 0;
    await page.goto(`${url}?bench=1&${words}`);
    await wait("body[data-bench=done], body[data-bench=failed]");
    return { ended: await value("bench"), lines: facts.lines.map((line) => JSON.parse(line)), shown: await text("lines") };
  };
  facts.bench = await automatic("calls=12&warmup=2&threads=1");
  facts.benchFailed = await automatic("model=nothing.tflite");
  facts.rows = await page.$$eval("#results tr", (rows) => rows.length);

  // WebGPU, computed by the processor: right or wrong is all that this can tell.
  const other = await chromium.launch({ executablePath: process.env.EDGEKIT_CHROMIUM, headless: true, args: [...FLAGS, ...SOFTWARE_GPU] });
  const gpu = await other.newPage();
  await gpu.goto(`${url}?bench=1&accelerator=webgpu&calls=2&warmup=1`);
  await gpu.waitForSelector("body[data-bench=done], body[data-bench=failed]", { timeout: 120_000 });
  facts.gpu = (await gpu.textContent("#lines")).trim().split("\n").map((line) => JSON.parse(line));
  await other.close();

  // Without a server: the page comes back and edits.
  writeFileSync(path.join(scratch, "stop"), "");
  for (let i = 0; i < 100 && !existsSync(path.join(scratch, "stopped")); i++) await page.waitForTimeout(100);
  await page.goto(url);
  await wait("body[data-ready]");
  await page.click("#sample");
  await edits(1);
  facts.offline = await text("status");
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(facts));
