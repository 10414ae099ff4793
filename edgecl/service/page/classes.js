// The list of classes: each with its key, a button that is held to teach it, and what can be done with it.
import { job } from "./api.js";
import { $, ask, el } from "./dom.js";
import { words } from "./words.js";

let own = [], known = [], counts = new Map();
let began = () => {}, ended = () => {}, failed = () => {};

export function begin(onHold, onRelease, onFailure) {
  [began, ended, failed] = [onHold, onRelease, onFailure];
  $("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("new-class").value.trim();
    if (name && !all().some((label) => `${label}` === name)) own.push(name);
    $("new-class").value = "";
    draw();
  });
}

export const all = () => [...known, ...own.filter((label) => !known.includes(label))];

// Whether the service knows a class: as it said last, or because samples of it were taken since.
const isKnown = (label) => known.includes(label) || counts.get(label) > 0;

export function told(labels) {
  if (JSON.stringify(labels) === JSON.stringify(known)) return;
  known = labels;
  own = own.filter((label) => !labels.includes(label));
  draw();
}

export function taught(label, count) {
  counts.set(label, (counts.get(label) ?? 0) + count);
  const shown = $("classes").querySelector(`li:nth-child(${all().indexOf(label) + 1}) small`);
  if (shown) shown.textContent = words.samples(counts.get(label));
}

export function press(label, on) {
  const button = $("classes").querySelector(`li:nth-child(${all().indexOf(label) + 1}) .hold`);
  button?.classList.toggle("on", on);
}

function draw() {
  const focused = document.activeElement?.dataset?.label;
  $("classes").replaceChildren(...all().map(row));
  $("keys").textContent = all().length ? words.keys : words.addFirst;
  if (focused !== undefined) $("classes").querySelector(`[data-label="${CSS.escape(focused)}"]`)?.focus();
}

function row(label, at) {
  const hold = el("button", { type: "button", className: "hold", "aria-label": words.holdNamed(`${label}`) }, words.hold);
  hold.dataset.label = `${label}`;
  hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); began(label); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) hold.addEventListener(end, () => ended(label));
  hold.addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key) && !event.repeat) began(label); });
  hold.addEventListener("keyup", (event) => { if ([" ", "Enter"].includes(event.key)) ended(label); });
  const small = el("small", {}, words.samples(counts.get(label) ?? 0));
  return el("li", {}, ...(at < 9 ? [el("kbd", {}, `${at + 1}`)] : []), el("span", { className: "name" }, `${label}`, small), hold,
    el("button", { type: "button", "aria-label": `${words.rename} ${label}`, onclick: () => rename(label) }, words.rename),
    el("button", { type: "button", "aria-label": `${words.remove} ${label}`, onclick: () => remove(label) }, words.remove));
}

async function rename(label) {
  const into = await ask(words.renameWhat(label), words.name, `${label}`);
  if (into === null || into === `${label}`) return;
  if (isKnown(label)) {
    const same = all().find((other) => `${other}` === into && isKnown(other)) ?? into;
    const verb = isKnown(same) ? "merge" : "rename";
    await job("/v1/classes", { [verb]: label, into: same }).then(({ labels }) => moved(label, same, labels), failed);
  } else {
    own = own.map((name) => (name === label ? into : name));
    draw();
  }
}

function moved(label, into, labels) {
  counts.set(into, (counts.get(into) ?? 0) + (counts.get(label) ?? 0));
  counts.delete(label);
  own = own.filter((name) => name !== label && name !== into);
  told(labels);
  draw();
}

async function remove(label) {
  if ((await ask(words.removeWhat(label))) === null) return;
  const there = isKnown(label);
  own = own.filter((name) => name !== label);
  counts.delete(label);
  draw();
  if (there) await job("/v1/remove", { label }).catch(failed);
}
