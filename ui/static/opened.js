/** The recording that the page shows: whether the session is one, how far it is, and what it is while nothing is heard. */

import * as api from "./api.js"
import {going} from "./library.js"
import * as say from "./sentences.js"

const LOOK_EVERY = 1_000 // ms, while it waits or is being heard
const LONGEST_DELAY = 15_000

export class Opened extends EventTarget {
  job = null
  state = "unasked" // "asking", "away" (no answer yet), "none" (it was recorded live), "known", "erased"

  /** Ask what it is, and follow it to its end. Dispatches `change`. @param mine the session and its keys */
  async look(mine) {
    this.mine = mine
    clearTimeout(this.timer)
    if (this.state === "unasked") this.become("asking")
    let delay = LOOK_EVERY
    try {
      this.job = {...(await api.recording(mine.session, mine.recorderKey ?? mine.viewerKey)), seenAt: Date.now()}
      this.failures = 0
    } catch ({status}) {
      if (this.mine !== mine) return
      if (status === 404) return this.become(this.job ? "erased" : "none")
      if (status === 401 || status === 403) return this.become("none")
      this.failures = (this.failures ?? 0) + 1
      delay = Math.min(LOOK_EVERY * 2 ** this.failures, LONGEST_DELAY)
      this.timer = setTimeout(() => this.look(mine), delay)
      return this.become("away")
    }
    if (this.mine !== mine) return
    if (going(this.job)) this.timer = setTimeout(() => this.look(mine), delay)
    this.become("known")
  }

  /** Another session is shown, or none. */
  close() {
    clearTimeout(this.timer)
    Object.assign(this, {mine: null, job: null, state: "unasked", failures: 0})
  }

  /** @param {"retry"|"cancel"|"erase"} what @throws {Error} whose message is for the reader */
  async ask(what) {
    const {mine} = this
    try {
      await api[what](mine.session, mine.recorderKey)
    } catch (error) {
      throw new Error(say.refused(error))
    }
    if (this.mine !== mine) return undefined
    if (what !== "erase") return this.look(mine)
    clearTimeout(this.timer)
    return this.become("erased")
  }

  /** What the document says of the session, together with what is known of the recording. */
  with(session) {
    if (this.state === "erased") return {state: "erased"}
    if (session.state !== "unknown") return session
    if (this.state === "none") return session
    if (this.state === "away") return this.mine.uploaded ? {...session, state: "away"} : session
    if (this.state !== "known") return {...session, state: "loading"}
    const {state, name, purpose, remark, consent, created_at: agreedAt, expires_in: expiresIn} = this.job
    const role = this.mine.recorderKey ? "recorder" : "viewer"
    const shown = {running: "hearing", done: "loading"}[state] ?? state
    return {...session, state: shown, name, purpose, remark, wording: consent?.version, agreedAt, expiresIn, role}
  }

  become(state) {
    this.state = state
    this.dispatchEvent(new Event("change"))
  }
}
