// In the browser's audio thread: what the microphone hears, handed on in blocks.
const BLOCK = 1600;

class Ear extends AudioWorkletProcessor {
  block = new Float32Array(BLOCK);
  at = 0;

  process([channels]) {
    for (const value of channels[0] ?? []) {
      this.block[this.at++] = value;
      if (this.at === BLOCK) {
        this.port.postMessage(this.block);
        this.at = 0;
      }
    }
    return true;
  }
}
registerProcessor("ear", Ear);
