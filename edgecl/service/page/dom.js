// Elements, and what is asked of a person. Text is always set as text, so that names with markup are shown as they are.
import { words } from "./words.js";

export const $ = (id) => document.getElementById(id);

// A line under the picture at hand.
export const note = (text) => { $("source-note").textContent = text; };

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A bar with a name and a share from 0 to 1; `best` is set apart.
export function bar(name, share, best = false) {
  const fill = el("i");
  fill.style.width = `${Math.round(share * 100)}%`;
  return el("li", { className: best ? "best" : "" }, fill, el("span", {}, name), el("span", {}, percent(share)));
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  for (; count >= 1000 && at < 3; at++) count /= 1000;
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

// Asks for yes or no, or with `label` for a text; null is no.
export function ask(what, label = null, value = "") {
  const dialog = $("ask");
  $("ask-what").textContent = what;
  $("ask-field").hidden = label === null;
  $("ask-field").firstChild.textContent = label ?? words.name;
  $("ask-value").value = value;
  dialog.returnValue = "no";
  dialog.showModal();
  ($("ask-field").hidden ? $("ask-yes") : $("ask-value")).focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const yes = dialog.returnValue === "yes";
      done(!yes ? null : label === null ? true : $("ask-value").value.trim() || null);
    }, { once: true });
  });
}

// A picture in a canvas of its own size; `source` is a canvas, a video or an ImageBitmap.
export function canvasOf(source, most = 0) {
  const width = source.videoWidth ?? source.width, height = source.videoHeight ?? source.height;
  const scale = most ? Math.min(1, most / Math.max(width, height)) : 1;
  const made = el("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  made.getContext("2d").drawImage(source, 0, 0, made.width, made.height);
  return made;
}
