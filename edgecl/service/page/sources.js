// Where pictures come from: the browser's camera, files, or the samples that the service was least sure of.
import { get, raw } from "./api.js";
import { $, canvasOf, el } from "./dom.js";
import { words } from "./words.js";

// A source: `show()` fills the view, `frame()` is the picture at hand or null, `taken()` goes on to the next,
// `one`: a picture is taught once, not as long as a key is held.
class Camera {
  one = false;

  async show() {
    if (!navigator.mediaDevices?.getUserMedia) return note(words.noCamera);
    note("");
    const shown = el("video", { muted: true, playsInline: true, autoplay: true, "aria-label": words.camera });
    this.video = shown;
    let stream;
    try {
      const video = { facingMode: "environment", width: { ideal: 320 }, height: { ideal: 240 } };
      stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      const again = el("button", { type: "button", onclick: () => this.show() }, words.startCamera);
      $("view").replaceChildren(el("p", { className: "row" }, again));
      return note(words.cameraRefused(error.message));
    }
    if (this.video !== shown) {  // another source was chosen meanwhile
      for (const track of stream.getTracks()) track.stop();
      return undefined;
    }
    this.stream = stream;
    shown.srcObject = stream;
    $("view").replaceChildren(shown);
    return shown.play().catch(() => {});
  }

  hide() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video = null;
  }

  frame() { return this.video?.videoWidth ? this.video : null; }
  taken() {}
}

class Files {
  one = true;
  waiting = [];
  count = 0;

  async show() {
    const pick = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true, id: "pick", "aria-label": words.choose,
      onchange: () => this.add([...pick.files]) });
    const button = el("button", { type: "button", onclick: () => pick.click() }, words.choose);
    this.empty = el("p", { className: "row" }, words.drop, button, pick);
    await this.next();
  }

  hide() {}

  async add(files) {
    const idle = !this.picture;
    this.waiting.push(...files);
    this.count += files.length;
    if (idle) await this.next();
    else this.say();
  }

  async next() {
    this.picture = null;
    while (!this.picture && this.waiting.length) {
      const file = this.waiting.shift();
      this.picture = await createImageBitmap(file, { imageOrientation: "from-image" }).then((b) => canvasOf(b, 640), () => null);
    }
    $("view").replaceChildren(this.picture ?? this.empty);
    this.say();
  }

  say() {
    note(this.picture ? words.filesLeft(this.count - this.waiting.length, this.count) : this.count ? words.noFiles : "");
  }

  frame() { return this.picture; }
  taken() { return this.next(); }
}

class Pool {
  one = true;

  async show() { await this.next(); }
  hide() {}

  async next() {
    const { samples, waiting } = await get("/v1/pool?by=margin&count=1");
    this.sample = samples[0] ?? null;
    this.picture = null;
    if (!this.sample) {
      $("view").replaceChildren(el("p", {}, words.poolEmpty));
      return note("");
    }
    const blob = await (await raw("GET", `/v1/pool/${this.sample.id}`)).blob();
    this.picture = canvasOf(await createImageBitmap(blob));
    $("view").replaceChildren(this.picture);
    note(words.poolNote(waiting, this.sample.label ?? this.sample.guess ?? words.unsure));
  }

  frame() { return this.picture; }
  taken() { return this.next(); }
}

const note = (text) => { $("source-note").textContent = text; };

export const sources = { camera: new Camera(), files: new Files(), pool: new Pool() };
