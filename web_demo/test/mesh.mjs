/**
 * The mesh screen in a real browser: `node mesh.mjs URL SCRATCH PROMPT` prints one JSON object of facts, which
 * tests/runtime/test_web_mesh.py judges. The site at URL holds a mesh generator and a picture editor.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const [url, scratch, prompt] = process.argv.slice(2);
const require = createRequire(path.join(process.env.EDGEKIT_NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--enable-unsafe-swiftshader"];
const facts = { requests: [], errors: [] };
const profile = mkdtempSync(path.join(tmpdir(), "edgekit-mesh-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.EDGEKIT_CHROMIUM,
  headless: true,
  args: FLAGS,
  viewport: { width: 820, height: 1180 },
  reducedMotion: "reduce",
});
const page = await context.newPage();
page.setDefaultTimeout(90_000);
context.on("request", (request) => facts.requests.push(request.url()));
page.on("pageerror", (error) => facts.errors.push(error.message));

const value = (name) => page.evaluate((key) => document.body.dataset[key], name);
const violations = async () =>
  page.evaluate(`(async () => { ${axe}; const found = await axe.run(); return found.violations.map((v) => v.id + ": " + v.nodes[0].html); })()`);
const shot = async () => (await page.locator("#mesh").screenshot()).toString("base64");
const settled = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const after = async (act) => {
  await act();
  await settled();
  return shot();
};
const made = async (act) => {
  const before = Number((await value("made")) ?? 0);
  await act();
  await page.waitForFunction((n) => Number(document.body.dataset.made ?? 0) > n, before, { timeout: 60_000 });
};
const submit = async (words) => {
  await page.fill("#prompt", words);
  await page.click("#prompting button[type=submit]");
};

try {
  await page.goto(url);
  await page.waitForSelector("body[data-ready]", { timeout: 60_000 });
  facts.screens = [await page.isVisible("#sculpture"), await page.isVisible("#stage")];
  facts.violations = await violations();
  await made(() => submit(prompt));
  facts.mesh = JSON.parse(await value("mesh"));
  facts.said = await page.textContent("#status");
  facts.label = await page.getAttribute("#mesh", "aria-label");
  facts.still = await page.getAttribute("#turn", "aria-pressed");
  const [saved] = await Promise.all([page.waitForEvent("download"), page.click("#save-mesh")]);
  facts.name = saved.suggestedFilename();
  await saved.saveAs(path.join(scratch, "saved.glb"));

  // Turned by keys, brought back, dragged, pinched, and drawn again when the graphics card was lost.
  const box = await page.locator("#mesh").boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.focus("#mesh");
  const first = await after(() => page.keyboard.press("Home")); // a key shows the ring of the focus
  const views = {
    right: await after(() => page.keyboard.press("ArrowRight")),
    up: await after(() => page.keyboard.press("ArrowUp")),
    nearer: await after(() => page.keyboard.press("+")),
    home: await after(() => page.keyboard.press("Home")),
    dragged: await after(async () => {
      await page.mouse.move(x, y);
      await page.mouse.down();
      await page.mouse.move(x + 80, y + 20, { steps: 4 });
      await page.mouse.up();
    }),
    again: await after(() => page.keyboard.press("Home")),
    pinched: await after(() => pinch(x, y)),
    back: await after(() => page.keyboard.press("Home")),
    restored: await after(() =>
      page.evaluate(async () => {
        const canvas = document.getElementById("mesh");
        const card = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
        card.loseContext();
        await new Promise((done) => setTimeout(done, 100));
        const given = new Promise((done) => canvas.addEventListener("webglcontextrestored", done, { once: true }));
        card.restoreContext();
        await given;
      }),
    ),
  };
  facts.changed = Object.fromEntries(Object.entries(views).map(([name, picture]) => [name, picture !== first]));
  await page.locator("#mesh").screenshot({ path: path.join(scratch, "mesh.png") });
  const turning = await after(() => page.click("#turn"));
  await page.waitForTimeout(300);
  facts.turned = (await shot()) !== turning;
  await page.focus("#mesh");
  await page.keyboard.press("Home");
  facts.stopped = await page.getAttribute("#turn", "aria-pressed");

  // Asked twice at once, the last words win.
  await page.evaluate(([first, second]) => {
    for (const words of [first, second]) {
      document.getElementById("prompt").value = words;
      document.getElementById("prompting").requestSubmit();
    }
  }, ["a red cone", prompt]);
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Done."));
  facts.last = JSON.parse(await value("mesh")).prompt;

  // What is not understood is said, and the mesh stays.
  await submit("xylophone");
  await page.waitForFunction(() => document.getElementById("status").classList.contains("error"));
  facts.unknown = await page.textContent("#status");
  facts.kept = JSON.parse(await value("mesh")).prompt;

  // The golden vectors of both files; another look of the page; the other bundle and back.
  await page.click("#bench > summary");
  await page.click("#check");
  await page.waitForSelector("body[data-golden]");
  facts.golden = JSON.parse(await value("golden"));
  await page.emulateMedia({ colorScheme: "dark" });
  facts.violations.push(...(await violations()));
  facts.wide = [];
  for (const width of [320, 820, 1400]) {
    await page.setViewportSize({ width, height: 800 });
    facts.wide.push(await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth));
  }
  await page.screenshot({ path: path.join(scratch, "dark.png"), fullPage: true });
  const models = Number(await value("models"));
  await page.selectOption("#bundle", { index: 1 });
  await page.waitForFunction((n) => Number(document.body.dataset.models) > n, models);
  facts.screens.push(await page.isVisible("#sculpture"), await page.isVisible("#stage"), await page.isVisible("#spent"));

  // Without WebGL the mesh is made all the same, and can be saved.
  const plain = await context.newPage();
  await plain.addInitScript(() => {
    const { getContext } = HTMLCanvasElement.prototype;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return kind === "webgl2" ? null : getContext.call(this, kind, ...rest);
    };
  });
  await plain.goto(url);
  await plain.waitForSelector("body[data-ready]", { timeout: 60_000 });
  await plain.click("#examples button");
  await plain.waitForSelector("body[data-made]", { timeout: 60_000 });
  await plain.waitForFunction(() => document.getElementById("status").classList.contains("error"));
  facts.plain = { said: await plain.textContent("#status"), saves: await plain.isEnabled("#save-mesh"), turns: await plain.isEnabled("#turn") };
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(facts));

/** Two fingers that move apart around a point. */
async function pinch(x, y) {
  const session = await context.newCDPSession(page);
  const touch = (type, apart) =>
    session.send("Input.dispatchTouchEvent", { type, touchPoints: apart === null ? [] : [{ x: x - apart, y, id: 0 }, { x: x + apart, y, id: 1 }] });
  await touch("touchStart", 30);
  for (const apart of [40, 55, 70]) await touch("touchMove", apart);
  await touch("touchEnd", null);
}
