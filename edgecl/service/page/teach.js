// Teaching: a class is held, the picture at hand is sent as one of it, and what the service sees is shown meanwhile.
import { post, send, labelQuery, Refused } from "./api.js";
import * as classes from "./classes.js";
import { $, bar, canvasOf, el } from "./dom.js";
import * as kept from "./kept.js";
import * as signals from "./signals.js";
import { fitting, sources } from "./sources.js";
import { words } from "./words.js";

const TEACH_MS = 150, SEE_MS = 250, MOST_SHOWN = 8;
let source = null, visible = false;  // a source once it is known what the service takes
let held = null, pressed = [], teaching = false, labelled = true;

function failed(error) {
  if (!(error instanceof Refused)) throw error;
  $("state").textContent = error.message;
  $("state").className = "bad";
}

const bodyOf = (picture) => picture.raw ?? new Promise((done) => canvasOf(picture, signals.side()).toBlob(done, "image/png"));

async function choose(name) {
  source?.hide();
  source = sources[name];
  if (visible) await source.show().catch(failed);
}

function offer(names) {
  for (const name of names) {
    const radio = el("input", { type: "radio", name: "source", value: name, checked: name === names[0], onchange: () => choose(name) });
    $("sources").append(el("label", {}, radio, words[name]));
  }
  choose(names[0]);
}
classes.begin(begin, end, failed);
$("undo").addEventListener("click", () => kept.undo(failed));
const view = $("view");
view.addEventListener("dragover", (event) => { event.preventDefault(); view.classList.add("over"); });
view.addEventListener("dragleave", () => view.classList.remove("over"));
view.addEventListener("drop", async (event) => {
  event.preventDefault();
  view.classList.remove("over");
  const radio = $("sources").querySelector("[value=files]");
  if (!radio) return;  // no pictures are taken here
  radio.checked = true;
  const files = [...event.dataTransfer.files];
  if (source !== sources.files) await choose("files");
  await sources.files.add(files);
});

function begin(label) {
  if (held !== null) return;
  held = label;
  classes.press(label, true);
  pressed.push(label);
  teach();
}

function end(label) {
  if (held !== label) return;
  held = null;
  classes.press(label, false);
  kept.endBurst();
}

async function teach() {
  if (teaching) return;  // what was pressed meanwhile comes after the sample that is on its way
  teaching = true;
  try {
    while (pressed.length) {
      const label = pressed.shift();
      do {
        const picture = source?.frame();
        if (!picture) break;
        await (source === sources.pool ? tell(label, picture) : observe(label, picture));
        await source.taken();
        if (source.one) pressed = [];  // the next picture was not seen by whoever pressed
        else await new Promise((next) => setTimeout(next, TEACH_MS));
      } while (held === label && !source.one);
    }
  } catch (error) {
    pressed = [];
    failed(error);
  } finally {
    teaching = false;
  }
}

async function observe(label, picture) {
  const shown = picture.raw ? picture : canvasOf(picture, signals.side());
  const { ids } = await send(`/v1/observe?wait=durable&label=${labelQuery(label)}`, await bodyOf(shown));
  classes.taught(label, ids.length);
  kept.add(label, ids, shown);
}

async function tell(label, picture) {
  const { labels } = await post("/v1/labels?wait=durable", [{ id: source.sample.id, label }]);
  if (labels[0].status !== 202) throw new Refused(labels[0].status, labels[0]);
  classes.taught(label, 1);
  if (labels[0].sample !== undefined) kept.add(label, [labels[0].sample], picture);
}

// What the service sees in the picture at hand.
async function see() {
  try {
    const looks = visible && !document.hidden && source && (source !== sources.pool || signals.isPicture());
    const picture = looks ? source.frame() : null;
    if (picture && labelled) draw(await send("/v1/predict?proba=1&keep=0", await bodyOf(picture)));
    else $("seen").replaceChildren(...(labelled ? [] : [el("li", {}, el("span", {}, words.nothingYet))]));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("seen").replaceChildren(el("li", {}, el("span", {}, error.status === 409 ? words.nothingYet : error.message)));
  } finally {
    kept.tell();
    setTimeout(see, SEE_MS);
  }
}

function draw({ labels, classes: names, probabilities }) {
  const shares = probabilities[0].map((share, at) => [names[at], share]).filter(([name]) => name !== null);
  shares.sort((a, b) => b[1] - a[1]);
  const bars = shares.slice(0, MOST_SHOWN).map(([name, share]) => bar(`${name}`, share, name === labels[0]));
  if (labels[0] === null) bars.unshift(el("li", { className: "best" }, el("span", {}, words.unsure)));
  $("seen").replaceChildren(...bars);
}

export function shown(on) {
  visible = on;
  if (on) source?.show().catch(failed);
  else source?.hide();
}

export function told(status) {
  signals.told(status.input);
  if (source === null) offer(fitting());
  labelled = status.model.steps > 0;
  classes.told(status.labels);
}

export function key(name, event) {
  if (event.repeat) return;
  const label = /^[1-9]$/.test(name) ? classes.all()[name - 1] : undefined;
  if (label !== undefined) begin(label);
  else if (name === "u") kept.undo(failed);
  else if (name === "n") {
    event.preventDefault();
    $("new-class").focus();
  }
}

export function keyUp(name) {
  if (/^[1-9]$/.test(name) && held !== null && classes.all()[name - 1] === held) end(held);
}
see();
