// The page: what is shown, which key does what, and the one look a second at the service.
import { get, setToken, Refused } from "./api.js";
import { $ } from "./dom.js";
import * as teach from "./teach.js";
import * as watch from "./watch.js";
import { words } from "./words.js";

const views = { teach, watch };
let shown = "teach";

function show(name) {
  shown = name;
  for (const view of Object.keys(views)) {
    $(view).hidden = view !== name;
    $(`go-${view}`).setAttribute("aria-pressed", view === name);
    views[view].shown(view === name);
  }
}

function stateOf(status) {
  const { learning, busy } = status;
  const parts = [words.ready(status.labels.length, status.model.steps)];
  if (!status.ready) parts.push(words.notReady(status.reason));
  else if (busy === "slice" || busy === "learn") parts.push(words.learning);
  else if (learning.paused) parts.push(words.paused);
  else parts.push(learning.when === "manual" ? words.manual : words.waiting(learning.fresh));
  if (learning.failure) parts.push(learning.failure);
  return parts.join(" · ");
}

async function look() {
  try {
    const status = await get("/v1/status");
    $("gate").hidden = true;
    $("state").textContent = stateOf(status);
    $("state").className = status.ready && !status.learning.failure ? "" : "bad";
    for (const view of Object.values(views)) view.told(status);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("state").textContent = error.message;
    $("state").className = "bad";
    if (error.status === 401 || error.status === 403) {
      $("gate").hidden = false;
      $("gate-why").textContent = words.needToken;
    }
  } finally {
    setTimeout(look, document.hidden ? 5000 : 1000);
  }
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  location.reload();
});
$("go-teach").addEventListener("click", () => show("teach"));
$("go-watch").addEventListener("click", () => show("watch"));
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "w") show("watch");
  else if (key === "t") show("teach");
  else if (shown === "teach") teach.key(key, event);
});
document.addEventListener("keyup", (event) => teach.keyUp(event.key.toLowerCase()));
show("teach");
look();
