// What was taught just now: shown small, relabelled, taken out, or undone for ten seconds.
import { job } from "./api.js";
import { $, ask, canvasOf, el } from "./dom.js";
import { words } from "./words.js";

const MOST = 24, UNDO_SECONDS = 10;
let burst = null;  // {label, ids, ends}

export function add(label, ids, picture) {
  const thumb = canvasOf(picture, 96);
  thumb.setAttribute("role", "img");
  thumb.setAttribute("aria-label", `${label}`);
  const name = el("button", { type: "button", title: words.relabelWhat, onclick: () => relabel(item, name, ids) }, `${label}`);
  const out = el("button", { type: "button", onclick: () => takeOut(item, ids) }, words.takeOut);
  const item = el("li", {}, thumb, name, out);
  item.dataset.ids = ids.join();
  $("taught").prepend(item);
  while ($("taught").children.length > MOST) $("taught").lastChild.remove();
  if (!burst || burst.label !== label || burst.closed) burst = { label, ids: [], closed: false };
  burst.ids.push(...ids);
  burst.ends = Date.now() + 1000 * UNDO_SECONDS;
  tell();
}

export const endBurst = () => { if (burst) burst.closed = true; };

export function tell() {
  const can = burst && burst.ids.length && Date.now() < burst.ends;
  $("undo").disabled = !can;
  if (can) $("undo-what").textContent = words.canUndo(burst.ids.length, burst.label);
  else if (burst) {
    burst = null;
    $("undo-what").textContent = "";
  }
}

export async function undo(failed) {
  if ($("undo").disabled) return 0;
  const { ids } = burst;
  burst = null;
  tell();
  await takeOutIds(ids).catch(failed);
  $("undo-what").textContent = words.undone(ids.length);
  return ids.length;
}

async function takeOutIds(ids) {
  const gone = new Set(ids.map(String));
  for (const item of [...$("taught").children]) if (item.dataset.ids.split(",").every((i) => gone.has(i))) item.remove();
  await job("/v1/remove", { ids });
}

async function takeOut(item, ids) {
  item.remove();
  if (burst) burst.ids = burst.ids.filter((i) => !ids.includes(i));
  await job("/v1/remove", { ids });
}

async function relabel(item, name, ids) {
  const label = await ask(words.relabelWhat, words.name, name.textContent);
  if (label === null || label === name.textContent) return;
  await job("/v1/relabel", { ids, labels: label });
  name.textContent = label;
  item.firstChild.setAttribute("aria-label", label);
}
