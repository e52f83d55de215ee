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
    try {
      this.microphone = await Microphone.open()
    } catch (error) {
      this.become("failed", {microphone: error.name})
      return
    }
    this.microphone.addEventListener("level", ({detail}) => {
      this.level = detail
      this.dispatchEvent(new Event("level"))
    })
    this.microphone.addEventListener("lost", () => this.pause())
    try {
      this.join({...(await session()), codec})
    } catch (error) {
      await this.release()
      this.become("failed", {message: error.message})
      return
    }
    this.microphone.addEventListener("frame", ({detail}) => this.line.send(detail))
    this.microphone.record(codec)
    // A phone that falls asleep stops to listen.
    navigator.wakeLock?.request("screen").then((lock) => { this.awake = lock }, () => {})
    this.become("recording", {state: "connecting"})
  }

  /** End a session that nothing is recorded for any more. */
  finish(codec, {url, key}) {
    this.join({url, key, codec})
    this.line.stop()
    this.become("stopping")
  }

  /** Send what is left, and end the session. */
  async stop() {
    if (!["recording", "reconnecting"].includes(this.state)) return
    this.become("stopping")
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

  join({url, key, codec}) {
    this.overflow = false
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
      this.become("stopping", line)
    } else if (line.state === "open") {
      this.overflow = false
      this.become("recording", line)
    } else if (line.state === "waiting") {
      this.become("reconnecting", line)
    }
  }

  async pause() {
    await this.release()
    this.line?.close()
    this.become("paused")
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
