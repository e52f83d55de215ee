/**
 * In the audio thread: cuts the microphone's sound into frames of int16 and measures how loud it is.
 * Runs at 16 kHz where the browser resamples by itself, and resamples otherwise.
 */

import {Resampler} from "./resampler.js"

const RATE = 16_000
const FRAME = 8_000 // samples: 0.5 s, a hop
const LEVEL_EVERY = 800 // samples: 50 ms

class Cutter extends AudioWorkletProcessor {
  constructor() {
    super()
    this.resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE)
    this.frame = new Int16Array(FRAME)
    this.filled = 0
    this.energy = 0
    this.measured = 0
    this.port.onmessage = () => this.flush()
  }

  process([channels]) {
    const sound = channels[0]
    if (sound) this.take(this.resampler ? this.resampler.push(sound) : sound)
    return true
  }

  take(samples) {
    for (const sample of samples) {
      const bounded = Math.max(-1, Math.min(1, sample))
      this.frame[this.filled++] = Math.round(bounded * 32_767)
      this.energy += bounded * bounded
      if (this.filled === FRAME) this.emit(FRAME)
      if (++this.measured === LEVEL_EVERY) {
        this.port.postMessage({level: Math.sqrt(this.energy / LEVEL_EVERY)})
        this.energy = this.measured = 0
      }
    }
  }

  emit(length) {
    const pcm = this.frame.slice(0, length).buffer
    this.filled = 0
    this.port.postMessage({pcm}, [pcm])
  }

  /** The last frame may be shorter than the others. */
  flush() {
    if (this.filled) this.emit(this.filled)
    this.port.postMessage({flushed: true})
  }
}

registerProcessor("cutter", Cutter)
