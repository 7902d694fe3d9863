/** The screen of a restorer: good photos of a person are enrolled, then bad ones are given back. */
import { cropTransform, inverse, moved } from "../core/align.js";
import { EdgekitError } from "../core/errors.js";
import { readCode, writtenCode } from "../core/identity_file.js";
import { limited } from "../core/pixels.js";
import { kindOf, MOST_FACES } from "../core/portrait.js";
import { $, download, guarded, on, say, shown } from "./dom.js";
import { askMarks, giveUp, wireMarks } from "./marks.js";
import { drawAfter, drawBefore, zoomTo } from "./stage.js";

export const FORM = "restorer";
/** References are kept no larger than this, on the page alone, to be enrolled again for another file. */
const MOST_PX = 1024;
/** @type {{image: ImageData, points: [number, number][] | null, face: ImageData | null, other: boolean, why: string}[]} */
let people = [];
let kind = "none"; // how the restorer in use is told of people
let kept = null; // the code of a file, in place of photos
let sampled = -1;
let last = []; // points of the faces that were restored, the largest first
let closer = -1; // which of them is shown alone
let left = 0; // faces of the photo that are not restored

/** Show the screen for a bundle of this form and hide it for any other. */
export function showPortraitScreen(manifest) {
  const here = manifest.form === FORM;
  kind = here ? kindOf(manifest.models[0]) : "none";
  $("person").hidden = !here;
  $("camera").hidden = here;
  for (const id of ["enrolment", "references"]) $(id).hidden = kind === "none";
  $("codes").hidden = kind !== "code";
  for (const id of ["tag-before", "tag-after"]) $(id).textContent = here ? { "tag-before": "photo", "tag-after": "restored" }[id] : id.slice(4);
  giveUp();
  sampled = -1;
  near(-1);
}

/** Show one face alone, or the whole photo for -1. */
function near(i) {
  closer = i < last.length ? i : -1;
  $("close-up").setAttribute("aria-pressed", String(closer >= 0));
  zoomTo(closer >= 0 ? crop(last[closer]) : null);
}

/** The box around what is restored, in shares of the photo's sides. */
function crop(points) {
  const { width, height } = $("before");
  const back = inverse(cropTransform(points.map(([x, y]) => [x * width, y * height]), 1));
  const ends = [[0, 0], [1, 0], [0, 1], [1, 1]].map((end) => moved(back, end));
  const [left, right, top, bottom] = [0, 1].flatMap((k) => [Math.min, Math.max].map((most) => most(...ends.map((end) => end[k])) / [width, height][k]));
  return { left, top, width: right - left, height: bottom - top };
}

/**
 * Connect the controls.
 *
 * @param {() => import("../core/remote.js").RemoteEditor} editor gives the model in use
 * @param {() => Promise<void>} again restores what is on the stage once more
 */
export function wirePortrait(editor, again) {
  wireMarks();
  on("reference", "change", async () => {
    const files = [...$("reference").files];
    $("reference").value = "";
    try {
      for (const file of files) await added(editor(), file);
    } finally {
      await again();
    }
  });
  on("forget-person", "click", async () => {
    [people, kept] = [[], null];
    await enrolAgain(editor());
    say("Forgotten.");
    await again();
  });
  on("code-file", "change", async () => {
    const [file] = $("code-file").files;
    $("code-file").value = "";
    if (!file) return;
    const code = readCode(await file.arrayBuffer());
    await editor().portrait("useCode", code);
    [people, kept] = [[], code];
    showPeople();
    await again();
  });
  on("save-code", "click", async () => {
    download(new Blob([writtenCode(await editor().portrait("code", {}))]), "me.code");
    say("Saved. The file describes a face: keep it where only you can read it.");
  });
  on("close-up", "click", async () => {
    near(closer + 1); // behind the last face comes the whole photo
    if (last.length > 1) say(closer < 0 ? "The whole photo." : `Face ${closer + 1} of ${last.length}.`);
  });
  on("mark", "click", async () => {
    const points = await askMarks(last[Math.max(closer, 0)] ?? null);
    if (!points) return;
    left = 0;
    await editor().portrait("mark", { faces: [points] }); // this one alone
    await again();
  });
}

/** A new photo: whatever was marked is forgotten. */
export async function portraitChanged(editor) {
  giveUp();
  [last, sampled, left] = [[], -1, 0];
  $("mark").disabled = false;
  near(-1);
  await editor.portrait("mark", { faces: null });
}

/** Say which face is being restored. */
export function portraitProgress(done, total) {
  if (total > 1 && done < total) say(`Restoring face ${done + 1} of ${total}.`);
}

/** What an edit found out: the same faces are not looked for again while the photo stays. Returns a sentence. */
export async function portraitDone(editor, made) {
  last = made.faces;
  left ||= made.left;
  $("close-up").disabled = false;
  near(closer);
  await editor.portrait("mark", { faces: last });
  document.body.dataset.faces = JSON.stringify(last);
  const words = [last.length > 1 ? `${last.length} faces restored.` : "Done."];
  if (left) words.push(`${left === 1 ? "One face was" : `${left} faces were`} left out: too small, turned away, or more than ${MOST_FACES}.`);
  if (last.length > 1 && (people.some((one) => !one.why) || kept)) words.push("The good photos are used for the largest face; mark another one to restore that one with them.");
  return words.join(" ");
}

/** Enrol everybody once more: another file of the bundle, or another bundle, knows nobody. */
export async function enrolAgain(editor) {
  await editor.portrait("forget", {});
  if (kept && kind === "code") await editor.portrait("useCode", kept).catch((error) => say(error.message, true));
  const all = people;
  people = [];
  for (const one of all) {
    await enrol(editor, one).catch((error) => people.push(Object.assign(one, { why: error.what ?? error.message })));
  }
  showPeople();
}

/** Show the next face of the bundle's golden vectors, restored with the references that came with it. */
export async function showSample(editor, next = true) {
  if (next) sampled += 1;
  const { before, data, size, model } = await editor.portrait("sample", { index: Math.max(sampled, 0) });
  const canvas = new OffscreenCanvas(size, size);
  canvas.getContext("2d").putImageData(new ImageData(before, size, size), 0, 0);
  drawBefore(canvas, size, size, 0);
  drawAfter(data, size, size);
  $("overlay").textContent = shown(model);
  for (const id of ["mark", "close-up"]) $(id).disabled = true;
  near(-1);
  for (const id of ["save", "share"]) $(id).disabled = false;
  say("A face of the golden vectors, with its own references. Choose a photo to restore yours.");
  document.body.dataset.sampled = String(Number(document.body.dataset.sampled ?? 0) + 1);
}

/** Whether the stage shows a sample. */
export function isSample() {
  return sampled >= 0;
}

async function added(editor, file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new EdgekitError(`${file.name || "the file"} is not a picture that this browser can read`, "choose a JPEG, PNG or WebP");
  }
  const [height, width] = limited(bitmap.height, bitmap.width, MOST_PX);
  const context = new OffscreenCanvas(width, height).getContext("2d", { colorSpace: "srgb" });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const one = { image: context.getImageData(0, 0, width, height), points: null, face: null, other: false, why: "" };
  say(`Looking at ${file.name}.`);
  try {
    await enrol(editor, one);
  } catch (error) {
    if (!(error instanceof EdgekitError) || !error.hint.includes("by hand")) throw named(error, file);
    one.points = await marked(one.image, `${file.name}: ${error.what}. Put the marks on both eyes and the mouth.`);
    if (!one.points) throw new EdgekitError(`${file.name} was left out`, "add another photo");
    await enrol(editor, one);
  }
  showPeople();
}

function named(error, file) {
  return error instanceof EdgekitError ? new EdgekitError(`${file.name}: ${error.what}`, error.hint) : error;
}

/** Ask for marks on a picture that is not the one to restore. */
async function marked(image, words) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  drawBefore(canvas, image.width, image.height, 0);
  drawAfter(image.data.slice(), image.width, image.height);
  say(words);
  const points = await askMarks(null);
  $("stage").dataset.empty = ""; // until the photo to restore is drawn again
  return points;
}

async function enrol(editor, one) {
  const { data, size, likeness } = await editor.portrait("enrol", { image: one.image, points: one.points });
  one.face = new ImageData(data, size, size);
  one.other = likeness !== null && !likeness.same;
  one.why = "";
  if (kind === "code") kept = null;
  people.push(one);
}

function showPeople() {
  $("references").replaceChildren(...people.map(thumbnail));
  $("forget-person").disabled = !people.length && !kept;
  $("save-code").disabled = !people.some((one) => !one.why);
  $("person-note").textContent = note();
  document.body.dataset.enrolled = String(people.filter((one) => !one.why).length);
}

function note() {
  if (kept && kind === "code") return `A code of ${kept.photos} ${kept.photos === 1 ? "photo" : "photos"} is in use, until you forget it or close this tab.`;
  const left = people.find((one) => one.why);
  if (left) return `A photo is not used: ${left.why}.`;
  const others = people.filter((one) => one.other).length;
  if (others) return `${others === 1 ? "One photo does" : `${others} photos do`} not look like the person of the others: the result may mix them.`;
  if (people.length) return "Kept in this tab alone, until you forget them or close it.";
  if (kind === "none") return "What comes back is a likely face, not proof of how somebody looked. Restore people who agreed.";
  return "Without good photos the restorer works alone. Add only people who agreed.";
}

function thumbnail(one, i) {
  const item = document.createElement("li");
  const canvas = Object.assign(document.createElement("canvas"), { width: one.face.width, height: one.face.height });
  canvas.getContext("2d").putImageData(one.face, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Reference ${i + 1}${one.why ? ", not used" : one.other ? ", of another person?" : ""}`);
  item.classList.toggle("other", one.other);
  item.classList.toggle("unused", one.why !== "");
  item.append(canvas);
  return item;
}

guarded(async () => showPeople());
