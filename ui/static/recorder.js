/** Recording: the microphone and the line joined, as one machine of few states. */

import {Connection} from "./connection.js"
import {Microphone} from "./microphone.js"

/**
 * States: "idle" -> "asking" (for the microphone) -> "recording" <-> "reconnecting" -> "stopping" -> "stopped";
 * "failed" and "paused" (the microphone is gone, the session is not) may come from any.
 * Dispatches `change` with every new state and `level` with every measurement.
 */
export class Recorder extends EventTarget {
  state = "idle"
  detail = {} // what the state is about: the line's last state, or an error
  level = 0

  /** Frames that would be lost with the page. */
  get unsent() {
    return this.line && !this.line.done ? this.line.unacknowledged : 0
  }

  get active() {
    return ["asking", "recording", "reconnecting", "stopping"].includes(this.state)
  }

  /**
   * @param {"pcm16"|"webm"} codec
   * @param {() => Promise<{url: string, key: string}>} session is called once there is a microphone, so that nobody
   *   who refuses it leaves an empty session behind
   */
  async start(codec, session) {
    this.become("asking")
    let microphone
    try {
      microphone = this.microphone = await Microphone.open()
    } catch (error) {
      this.become("failed", {microphone: error.name})
      this.line?.rest()
      return
    }
    microphone.addEventListener("level", ({detail}) => {
      this.level = detail
      this.dispatchEvent(new Event("level"))
    })
    microphone.addEventListener("lost", () => this.pause())
    try {
      const address = await session()
      if (this.microphone !== microphone) return // it was lost meanwhile
      this.join({...address, codec})
    } catch (error) {
      await this.release()
      this.become("failed", {message: error.message})
      return
    }
    microphone.addEventListener("frame", ({detail}) => this.line.send(detail))
    microphone.record(codec)
    // A phone that falls asleep stops to listen.
    navigator.wakeLock?.request("screen").then((lock) => { this.awake = lock }, () => {})
    this.become("recording", {state: "connecting"})
  }

  /** End a session that nothing is recorded for any more. */
  finish(codec, {url, key}) {
    this.join({url, key, codec})
    this.line.stop()
    this.become("stopping", this.detail)
  }

  /** Send what is left, and end the session. */
  async stop() {
    if (!["recording", "reconnecting"].includes(this.state)) return
    this.become("stopping", this.detail)
    await this.release()
    this.line.stop()
  }

  /** The session is gone: end everything at once. */
  async abandon() {
    this.line?.close()
    await this.release()
    this.become("idle")
  }

  /** The network may be back. */
  hurry() {
    this.line?.hurry()
  }

  /** Go on with the line of before where there is one: it may still hold what the server has not got. */
  join({url, key, codec}) {
    this.overflow = false
    if (this.line && !this.line.done) {
      this.line.wake()
      return
    }
    this.line = new Connection({url, key, codec})
    this.line.addEventListener("state", ({detail}) => this.followLine(detail))
    this.line.addEventListener("overflow", () => {
      this.overflow = true
      this.become(this.state, this.detail)
    })
    this.line.start()
  }

  async followLine(line) {
    if (line.state === "stopped" || line.state === "failed") {
      await this.release()
      this.become(line.state, line)
    } else if (this.state === "stopping") {
      if (line.state !== "connecting") this.become("stopping", line)
    } else if (!this.microphone) {
      this.become(this.state, this.state === "paused" ? line : this.detail)
    } else if (line.state === "open") {
      this.overflow = false
      this.become("recording", line)
    } else if (line.state === "waiting") {
      this.become("reconnecting", line)
    }
  }

  /** The microphone is gone: what it has heard is still sent, by a line that then waits for the next one. */
  async pause() {
    if (this.state === "stopping") return
    this.become("paused", this.detail)
    await this.release()
    if (this.state === "paused") this.line?.rest()
  }

  async release() {
    const microphone = this.microphone
    this.microphone = null
    this.awake?.release()
    this.awake = null
    await microphone?.close()
  }

  become(state, detail = {}) {
    this.state = state
    this.detail = detail
    this.dispatchEvent(new Event("change"))
  }
}
