/**
 * Streaming sample rate conversion by a windowed sinc, for browsers that cannot run a microphone at 16 kHz.
 * The low-pass passes 90 % of the lower of the two bands; the delay is half the kernel.
 */

const ZERO_CROSSINGS = 16
const PASS = 0.9

export class Resampler {
  /** @param {number} from Hz in @param {number} to Hz out */
  constructor(from, to) {
    this.step = from / to
    this.cutoff = PASS * Math.min(1, to / from)
    this.reach = Math.ceil(ZERO_CROSSINGS / this.cutoff)
    this.past = new Float32Array(2 * this.reach)
    this.position = this.reach // of the next output sample, within `past` and what follows it
  }

  /** Takes samples in, gives what is ready out. */
  push(samples) {
    const input = new Float32Array(this.past.length + samples.length)
    input.set(this.past)
    input.set(samples, this.past.length)
    const output = []
    while (this.position + this.reach < input.length) {
      output.push(this.at(input, this.position))
      this.position += this.step
    }
    const kept = 2 * this.reach
    this.position -= input.length - kept
    this.past = input.slice(input.length - kept)
    return output
  }

  at(input, position) {
    let sum = 0
    for (let i = Math.ceil(position - this.reach); i <= Math.floor(position + this.reach); i++) {
      const x = i - position
      const angle = Math.PI * this.cutoff * x
      const sinc = x === 0 ? 1 : Math.sin(angle) / angle
      const hann = 0.5 + 0.5 * Math.cos((Math.PI * x) / this.reach)
      sum += input[i] * this.cutoff * sinc * hann
    }
    return sum
  }
}
