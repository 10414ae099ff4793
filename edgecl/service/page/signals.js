// What a sample is here, and signals as pictures: lines of a window's channels, with the raw sample that is sent for it.
import { el } from "./dom.js";

const WIDTH = 480, HEIGHT = 180, COLORS = ["--c0", "--c1", "--soft"];
const ARRAYS = { float32: Float32Array, int16: Int16Array, uint8: Uint8Array };
let input = null;

export const told = (of) => { input = of; };
export const isSound = () => input.front === "logmel";
export const isPicture = () => input.shape[1] > 1;
export const length = () => input.shape[2];
export const side = () => Math.max(64, 2 * Math.max(input.shape[1], input.shape[2]));  // of a picture that is sent

// A raw sample of sound in -1..1.
export const soundOf = (values) =>
  (input.dtype === "int16" ? Int16Array.from(values, (v) => Math.max(-32768, Math.min(32767, Math.round(32767 * v)))) : values).buffer;

// A canvas of the raw sample in `buffer`; its `raw` is what is sent.
export function drawn(buffer) {
  const values = new ARRAYS[input.dtype](buffer), canvas = isPicture() ? pixels(values) : lines(values);
  canvas.raw = new Blob([buffer], { type: "application/octet-stream" });
  return canvas;
}

function pixels(values) {
  const [channels, height, width] = input.shape, canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), plane = width * height;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[(channels === 3 ? c : 0) * plane + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function lines(values) {
  const canvas = el("canvas", { width: WIDTH, height: HEIGHT }), [channels, , count] = input.shape;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  let low = 0, high = 0;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  const reach = Math.max(-low, high) || 1;
  for (let c = 0; c < channels; c++) {
    context.strokeStyle = style.getPropertyValue(COLORS[c % COLORS.length]);
    context.beginPath();
    for (let i = 0; i < count; i++) context.lineTo((i * WIDTH) / (count - 1), HEIGHT / 2 - (0.46 * HEIGHT * values[c * count + i]) / reach);
    context.stroke();
  }
  return canvas;
}
