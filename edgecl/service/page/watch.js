// Watching: figures, curves, decisions, and what can be done about them.
import { get, post, job, download, keep, Refused } from "./api.js";
import { $, ask, bar, bytes, el, percent } from "./dom.js";
import { words } from "./words.js";

const KEPT = 1800;  // looks, one a second
const looks = { at: [], holdout: [], before: [], resident: [] };
let visible = false, paused = false, since = 0, charts = null;

function say(text, bad = false) {
  $("done").textContent = text;
  $("done").className = bad ? "bad" : "";
}

async function doing(what, work) {
  try {
    say(await work() ?? words.did(what));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
}

const pause = el("button", { type: "button", onclick: () => doing(pause.textContent, async () => { await post(paused ? "/v1/resume" : "/v1/pause"); }) }, words.pause);
const actions = [
  [words.learnNow, async () => { await job("/v1/learn", { seconds: 5 }); }],
  [words.rollback, async () => ((await ask(words.rollbackWhat)) === null ? "" : void (await job("/v1/rollback")))],
  [words.save, async () => { await job("/v1/checkpoint"); }],
  [words.backup, async () => words.backedUp((await job("/v1/backup")).file)],
  [words.exportModel, async () => { await download("/v1/export?what=model"); }],
];
$("actions").append(pause, ...actions.map(([name, work]) => el("button", { type: "button", onclick: () => doing(name, work) }, name)));
$("forget").addEventListener("submit", async (event) => {
  event.preventDefault();
  const subject = $("subject").value.trim();
  if (!/^\d+$/.test(subject) || (await ask(words.forgetWhat(subject))) === null) return;
  await doing("", async () => {
    const receipt = await job("/v1/forget", { subject: Number(subject) });
    keep(`forgotten-${receipt.subject}.json`, new Blob([JSON.stringify(receipt, null, 1)], { type: "application/json" }));
    $("subject").value = "";
    return words.forgot(receipt);
  });
});

const tile = (value, name, bad = false) => el("div", { className: bad ? "tile bad" : "tile" }, el("b", {}, `${value}`), el("span", {}, name));

function drawTiles(status) {
  const { accuracy, counters, device, learning, loss } = status;
  const state = status.busy === "slice" || status.busy === "learn" ? words.learning : learning.paused ? words.paused
    : counters.governor?.level === 2 ? words.resting : words.when(learning.when);
  const limit = device.ram_limit_bytes;
  const tiles = [
    tile(percent(accuracy.holdout), `${words.accuracy}, ${words.samples(accuracy.holdout_samples)}`),
    tile(percent(accuracy.prequential), words.before), tile(state, words.state), tile(counters.steps, words.steps),
    tile(loss === null ? "–" : loss.toFixed(3), words.loss),
    tile(bytes(device.resident_bytes), limit ? words.ofLimit(bytes(limit)) : words.resident, limit && device.resident_bytes > 0.95 * limit),
    tile(`${counters.remembered} / ${device.memory_slots}`, words.memory), tile(counters.stored, words.stored),
    tile(bytes(device.store_bytes), words.storeBytes), tile(bytes(device.flash_written_bytes), words.written),
    tile(accuracy.rollbacks, words.rollbacks),
  ];
  if (device.flash_years !== null) tiles.push(tile(device.flash_years > 99 ? "> 99" : device.flash_years.toFixed(1), words.years, device.flash_years < 2));
  for (const { kind, used, limit: most } of device.budget) tiles.push(tile(percent(used / most), words.budget[kind], used > 0.95 * most));
  $("tiles").replaceChildren(...tiles);
}

function chart(place, series, range) {
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
  const options = {
    width: place.clientWidth || 320, height: 220, cursor: { show: false }, legend: { live: false }, scales: { y: { range } },
    axes: [axis, { ...axis, size: 64, values: (_, found) => found.map((v) => series.show(v)) }],
    series: [{}, ...series.lines.map(([label, color]) => ({ label, stroke: style.getPropertyValue(color), width: 2, spanGaps: true,
      value: (_, v) => (v === null || v === undefined ? "–" : series.show(v)) }))],
  };
  return new uPlot(options, [[], ...series.lines.map(() => [])], place);
}

function drawCharts() {
  charts ??= [
    chart($("curve"), { show: percent, lines: [[words.accuracy, "--c0"], [words.before, "--c1"]] }, () => [0, 1]),
    chart($("memory"), { show: bytes, lines: [[words.resident, "--c0"]] }, (_, low, high) => [0, 1.2 * (high ?? 1)]),
  ];
  charts[0].setData([looks.at, looks.holdout, looks.before]);
  charts[1].setData([looks.at, looks.resident]);
  $("curve").setAttribute("aria-label", `${words.accuracy} ${percent(looks.holdout.at(-1))}, ${words.before} ${percent(looks.before.at(-1))}`);
  $("memory").setAttribute("aria-label", `${words.resident} ${bytes(looks.resident.at(-1))}`);
}

async function readDecisions() {
  const { decisions } = await get(`/v1/decisions?since=${since}`);
  const body = $("decisions").tBodies[0];
  for (const entry of decisions) {
    since = Math.max(since, entry.number);
    const { number, kind, step, time, boot, ...rest } = entry;
    const why = Object.entries(rest).filter(([, v]) => v !== null).map(([name, v]) => `${name.replaceAll("_", " ")} ${typeof v === "number" ? +v.toPrecision(4) : v}`);
    const cells = [new Date(time * 1000).toLocaleTimeString(), kind, step, why.join(", ")];
    body.prepend(el("tr", {}, ...cells.map((text) => el("td", {}, `${text}`))));
  }
  while (body.rows.length > 100) body.deleteRow(-1);
}

export function shown(on) {
  visible = on;
  if (on && looks.at.length) drawCharts();
}

export function told(status) {
  looks.at.push(Date.now() / 1000);
  looks.holdout.push(status.accuracy.holdout);
  looks.before.push(status.accuracy.prequential);
  looks.resident.push(status.device.resident_bytes);
  for (const list of Object.values(looks)) if (list.length > KEPT) list.shift();
  paused = status.learning.paused;
  pause.textContent = paused ? words.resume : words.pause;
  if (!visible) return;
  drawTiles(status);
  drawCharts();
  const each = status.accuracy.classes.map(([name, share]) => bar(`${name}`, share));
  $("each").replaceChildren(...(each.length ? each : [el("li", {}, el("span", {}, words.noneHeld))]));
  readDecisions().catch(() => {});
}
addEventListener("resize", () => charts?.forEach((c) => c.setSize({ width: c.root.parentElement.clientWidth, height: 220 })));
