// Where samples come from: the browser's camera or microphone, the device's, files, or what the service was least sure of.
import { get, raw } from "./api.js";
import { Device } from "./device.js";
import { $, canvasOf, el, note } from "./dom.js";
import * as signals from "./signals.js";
import { words } from "./words.js";

const RATE = 16000;  // of sound, as the front `logmel` takes it

// A source: `show()` fills the view, `frame()` is the picture at hand or null, `taken()` goes on to the next,
// `one`: a picture is taught once, not as long as a key is held. A picture with `raw` is sent as that.
class Live {
  one = false;

  // The browser's stream; undefined where there is none, or another source was chosen meanwhile.
  async open(wanted) {
    const mine = this.opening = {};
    if (!navigator.mediaDevices?.getUserMedia) {  // neither https nor localhost
      const other = el("button", { type: "button", onclick: () => $("sources").querySelector("[value=device]").click() }, words.useDevice);
      $("view").replaceChildren(el("p", { className: "row" }, other));
      note(words.noCamera);
      return undefined;
    }
    note("");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      const again = el("button", { type: "button", onclick: () => this.show() }, words.startCamera);
      $("view").replaceChildren(el("p", { className: "row" }, again));
      note(words.cameraRefused(error.message));
      return undefined;
    }
    if (this.opening === mine) return (this.stream = stream);
    for (const track of stream.getTracks()) track.stop();
    return undefined;
  }

  hide() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.opening = null;
  }

  taken() {}
}

class Camera extends Live {
  async show() {
    const stream = await this.open({ video: { facingMode: "environment", width: { ideal: 320 }, height: { ideal: 240 } }, audio: false });
    if (!stream) return;
    this.video = el("video", { muted: true, playsInline: true, autoplay: true, "aria-label": words.camera });
    this.video.srcObject = stream;
    $("view").replaceChildren(this.video);
    await this.video.play().catch(() => {});
  }

  hide() {
    super.hide();
    this.video = null;
  }

  frame() { return this.video?.videoWidth ? this.video : null; }
}

class Microphone extends Live {
  async show() {
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await this.open({ audio: plain });
    if (!stream) return;
    const context = this.context = new AudioContext({ sampleRate: RATE });
    await context.audioWorklet.addModule("/page/ear.js");
    if (this.context !== context) return;
    const ear = new AudioWorkletNode(context, "ear", { numberOfOutputs: 0 });
    context.createMediaStreamSource(stream).connect(ear);
    this.last = new Float32Array(signals.length());
    this.heard = 0;
    ear.port.onmessage = ({ data }) => { if (this.context === context) this.hear(data); };
    await context.resume();
  }

  hear(block) {
    const count = Math.min(block.length, this.last.length);
    this.last.copyWithin(0, count);
    this.last.set(block.subarray(block.length - count), this.last.length - count);
    this.heard += count;
    if (this.heard < this.last.length) return;
    this.picture = signals.drawn(signals.soundOf(this.last.slice()));
    this.picture.setAttribute("role", "img");
    this.picture.setAttribute("aria-label", words.microphone);
    $("view").replaceChildren(this.picture);
  }

  hide() {
    super.hide();
    this.context?.close();
    this.context = this.picture = null;
  }

  frame() { return this.picture; }
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

export const sources = { camera: new Camera(), microphone: new Microphone(), device: new Device(), files: new Files(), pool: new Pool() };

// Names of those that bring what the service takes, the first one first.
export const fitting = () => Object.keys(sources).filter((name) =>
  ({ camera: signals.isPicture, files: signals.isPicture, microphone: signals.isSound })[name]?.() ?? true);
