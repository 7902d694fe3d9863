/**
 * The restorer's screen in a real browser: `node portrait.mjs URL SCRATCH` prints one JSON object of facts, which
 * tests/runtime/test_portraits.py judges. SCRATCH holds photo.png, good.png, other.png, both.png and empty.png; the site at URL
 * holds a restorer and a picture editor.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const [url, scratch] = process.argv.slice(2);
const require = createRequire(path.join(process.env.EDGEKIT_NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const facts = { requests: [], errors: [], violations: {} };
const profile = mkdtempSync(path.join(tmpdir(), "edgekit-portrait-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.EDGEKIT_CHROMIUM,
  headless: true,
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
  viewport: { width: 820, height: 1180 },
});
const page = await context.newPage();
context.on("request", (request) => facts.requests.push(request.url()));
page.on("pageerror", (error) => facts.errors.push(error.message));

const file = (name) => path.join(scratch, `${name}.png`);
const value = (name) => page.evaluate((key) => document.body.dataset[key], name);
const status = () => page.textContent("#status");
const look = async (name) => {
  facts.violations[name] = await page.evaluate(`(async () => { ${axe}; const found = await axe.run(); return found.violations.map((v) => v.id + ": " + v.nodes[0].html); })()`);
};
const counted = async (name, act, more = 1) => {
  const before = Number((await value(name)) ?? 0);
  await act();
  await page.waitForFunction(([key, n]) => Number(document.body.dataset[key] ?? 0) >= n, [name, before + more], { timeout: 60_000 });
};
const pixels = (id) =>
  page.evaluate((canvas) => {
    const { width, height } = document.getElementById(canvas);
    return [...document.getElementById(canvas).getContext("2d").getImageData(0, 0, width, height).data];
  }, id);

try {
  await page.goto(url);
  await page.waitForSelector("body[data-ready]", { timeout: 60_000 });
  facts.shown = [await page.isVisible("#person"), await page.isVisible("#camera")];
  await look("empty");

  // A face that came with the bundle, then one's own photo with nobody enrolled, then with two references.
  await counted("sampled", () => page.click("#sample"));
  facts.sample = { before: await pixels("before"), after: await pixels("after") };
  await counted("edited", () => page.setInputFiles("#file", file("photo")));
  facts.alone = { face: JSON.parse(await value("faces"))[0], after: await pixels("after") };
  await counted("edited", () => page.setInputFiles("#reference", [file("good"), file("other")]));
  facts.enrolled = await value("enrolled");
  facts.known = { face: JSON.parse(await value("faces"))[0], after: await pixels("after") };
  facts.thumbnails = await page.$$eval("#references canvas", (rows) => rows.map((row) => row.getAttribute("aria-label")));
  await look("enrolled");
  await page.screenshot({ path: path.join(scratch, "enrolled.png"), fullPage: true });
  const looked = () => page.$eval("#before", (canvas) => [getComputedStyle(canvas).transform, getComputedStyle(canvas).clipPath]);
  facts.closeUp = [await looked()];
  await page.click("#close-up");
  facts.closeUp.push(await looked());
  await page.screenshot({ path: path.join(scratch, "near.png"), fullPage: true });
  await page.click("#close-up");
  facts.closeUp.push(await looked());
  await page.setInputFiles("#reference", file("good"));
  await page.waitForFunction(() => document.getElementById("status").classList.contains("error"));
  facts.full = await status();

  // Another file of the bundle knows the same person.
  const files = await page.$$eval("#model option", (rows) => rows.length);
  await page.click("#settings > summary");
  if (files > 1) await counted("edited", () => page.selectOption("#model", "1"));
  facts.enrolledAgain = await value("enrolled");

  // A photo of two: both are restored, and shown one after the other.
  await page.evaluate(() => {
    self.said = [];
    new MutationObserver(() => self.said.push(document.getElementById("status").textContent)).observe(document.getElementById("status"), { childList: true });
  });
  await counted("edited", () => page.setInputFiles("#file", file("both")));
  facts.both = { faces: JSON.parse(await value("faces")), after: await pixels("after"), said: await page.evaluate(() => self.said) };
  facts.both.told = await page.textContent("#told");
  facts.both.closeUp = [];
  for (let i = 0; i < 3; i++) {
    await page.click("#close-up");
    facts.both.closeUp.push([await status(), ...(await looked())]);
  }
  await page.screenshot({ path: path.join(scratch, "both_seen.png"), fullPage: true });
  await counted("edited", () => page.setInputFiles("#file", file("photo")));

  // Marks by the keyboard.
  await page.click("#mark");
  await look("marking");
  facts.marks = await page.$$eval("#marks button", (rows) => rows.map((row) => row.getAttribute("aria-label")));
  await page.keyboard.press("ArrowLeft");
  await counted("edited", () => page.click("#use-marks"));
  facts.marked = JSON.parse(await value("faces"))[0];
  await page.setInputFiles("#file", file("empty"));
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("no face"));
  facts.none = await status();
  facts.mayMark = await page.isEnabled("#mark");

  await page.click("#forget-person");
  await page.waitForFunction(() => document.body.dataset.enrolled === "0");
  await page.click("#bench > summary");
  await page.click("#check");
  await page.waitForSelector("body[data-golden]");
  facts.golden = JSON.parse(await value("golden"));

  const bundles = await page.$$eval("#bundle option", (rows) => rows.map((row) => row.value));
  await counted("models", () => page.selectOption("#bundle", bundles[1]));
  await page.waitForFunction(() => document.getElementById("person").hidden);
  facts.editor = await page.textContent("#tag-after");
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(facts));
