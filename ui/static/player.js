/** Plays the sound of a recording, where it was kept. It is fetched when it is first wanted, with the key in a header. */

import * as api from "./api.js"
import * as say from "./sentences.js"

const AT_END = 0.05 // seconds

export class Player extends EventTarget {
  audio = new Audio()

  /**
   * States: "none" (nothing to play along), "absent" (not kept), "idle" (not fetched), "loading", "paused", "playing",
   * "broken" (the browser cannot play it). Dispatches `change` with every state and `tick` as time goes on.
   */
  constructor() {
    super()
    this.audio.onplay = () => { this.become("playing"); this.follow() } // a headset's key may do it, too
    this.audio.onpause = () => this.become("paused")
    this.audio.onseeked = () => this.tick()
    this.audio.onerror = () => this.url && this.become("broken", say.CANNOT_PLAY)
    this.close()
  }

  /** Whether there is a time to go to. */
  get available() {
    return ["idle", "loading", "paused", "playing"].includes(this.state)
  }

  /** Be ready for a recording. @param {{id: string, key: string, seconds: number, file: string, bytes: number, kept: boolean}} recording */
  open({id, key, seconds, file, bytes, kept}) {
    if (this.id === id) return
    this.close()
    Object.assign(this, {id, key, seconds, file, bytes})
    this.become(kept ? "idle" : "absent")
  }

  close() {
    this.ending?.abort()
    this.id = null
    this.become("none")
    this.audio.pause()
    this.audio.removeAttribute("src")
    if (this.url) URL.revokeObjectURL(this.url)
    Object.assign(this, {url: null, at: 0, seconds: 0, share: null})
  }

  get time() {
    return this.url && this.state !== "loading" ? this.audio.currentTime : this.at
  }

  get rate() {
    return this.audio.playbackRate
  }

  set rate(rate) {
    this.audio.defaultPlaybackRate = this.audio.playbackRate = rate
  }

  toggle() {
    if (this.state === "playing") return this.audio.pause()
    if (this.state === "idle") return this.load()
    if (this.state === "loading") return this.stopLoading()
    if (this.state !== "paused") return undefined
    if (this.time >= this.seconds - AT_END) this.audio.currentTime = 0
    return this.play()
  }

  /** Go to an instant, in seconds. */
  seek(seconds) {
    if (!this.available) return
    this.at = Math.min(Math.max(seconds, 0), this.seconds)
    if (this.url) this.audio.currentTime = this.at
    this.tick()
  }

  async play() {
    try {
      await this.audio.play()
    } catch {
      // It took so long that the browser waits for another press; or it cannot be played, which `onerror` says.
      if (this.state !== "broken" && this.url) this.become("paused")
    }
  }

  async load() {
    this.share = null
    this.become("loading")
    const {id, ending} = Object.assign(this, {ending: new AbortController()})
    let sound
    try {
      sound = await api.file(id, "audio", this.key, (share) => this.arrived(share), ending.signal)
    } catch (error) {
      if (this.id !== id || ending.signal.aborted) return
      return this.become(error.status === 404 ? "absent" : "idle", error.status === 404 ? "" : say.refused(error))
    }
    if (this.id !== id || ending.signal.aborted) return
    this.url = URL.createObjectURL(sound)
    this.audio.src = this.url
    this.audio.currentTime = this.at
    this.state = "paused"
    await this.play()
  }

  stopLoading() {
    this.ending.abort()
    this.become("idle")
  }

  arrived(share) {
    const percent = Math.floor(100 * share)
    if (percent === Math.floor(100 * (this.share ?? -1))) return
    this.share = share
    this.dispatchEvent(new Event("change"))
  }

  /** Tell the time for as long as it goes on. */
  follow() {
    if (this.state !== "playing") return
    this.tick()
    requestAnimationFrame(() => this.follow())
  }

  tick() {
    if (this.url && this.state !== "loading") this.at = this.audio.currentTime
    this.dispatchEvent(new Event("tick"))
  }

  become(state, message = "") {
    if (state === "paused" && !this.available) return // it was closed
    Object.assign(this, {state, message})
    this.dispatchEvent(new Event("change"))
    this.dispatchEvent(new Event("tick"))
  }
}
