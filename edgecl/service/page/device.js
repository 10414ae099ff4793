// The device's own camera, microphone or sensor, as `edgecl feed` shows it: followed while somebody looks.
import { get, raw, Refused } from "./api.js";
import { $, canvasOf, el, note } from "./dom.js";
import * as signals from "./signals.js";
import { words } from "./words.js";

const AGAIN_MS = 1000;
const pause = () => new Promise((done) => setTimeout(done, AGAIN_MS));

export class Device {
  one = false;
  picture = null;

  async show() {
    note("");
    $("view").replaceChildren(el("p", {}, words.deviceLooks));
    this.followed = {};  // a new one ends the one before
    this.follow(this.followed);
  }

  hide() { this.followed = this.picture = this.name = null; }

  async follow(mine) {
    let after = 0;
    while (this.followed === mine) {
      try {
        this.name ??= await this.pick(mine);
        if (this.followed !== mine) return;
        if (this.name === null || document.hidden) {
          await pause();
          continue;
        }
        const name = this.name, answer = await raw("GET", `/v1/feeds/${encodeURIComponent(name)}?after=${after}`);
        if (answer.status === 204 || name !== this.name) continue;
        const body = await answer.blob(), shown = await this.canvas(body);
        if (this.followed !== mine) return;
        after = Number(answer.headers.get("X-Feed-Number"));
        shown.setAttribute("role", "img");
        shown.setAttribute("aria-label", words.deviceShows(name));
        shown.className = "live";
        this.picture = shown;
        $("view").replaceChildren(shown);
      } catch (error) {
        if (!(error instanceof Refused || error instanceof DOMException)) throw error;  // gone, or no picture
        if (this.followed !== mine) return;
        this.picture = this.name = null;
        await pause();
      }
    }
  }

  canvas(body) {
    if (body.type !== "application/octet-stream") return createImageBitmap(body).then((b) => canvasOf(b, 640));
    return body.arrayBuffer().then(signals.drawn);
  }

  // The first feed, or the one that a person chooses; null where none is shown.
  async pick(mine) {
    const { feeds } = await get("/v1/feeds");
    if (this.followed !== mine) return null;
    if (!feeds.length) $("view").replaceChildren(el("p", {}, words.noDevice));
    if (feeds.length < 2) note("");
    else {
      const names = el("select", { onchange: () => { this.name = names.value; } }, ...feeds.map(({ name }) => el("option", {}, name)));
      $("source-note").replaceChildren(el("label", { className: "row" }, words.deviceWhich, names));
    }
    return feeds[0]?.name ?? null;
  }

  frame() { return this.picture; }
  taken() {}
}
