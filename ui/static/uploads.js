/**
 * Uploads of recordings, one after another: the first is given the key that the others then come under. A broken line is
 * tried again with the same Idempotency-Key, so that nothing is taken in twice. It knows no page, and any sender will do.
 */

import {address, withApiKey} from "./api.js"
import * as keys from "./keys.js"
import * as say from "./sentences.js"

const DELAYS = [1_000, 2_000, 4_000, 8_000, 15_000] // ms before each new attempt
const STILL_ARRIVING = 409 // the server has not noticed yet that the line of before is broken
const ARRIVING_DELAY = 5_000 // ms, and so many times: it notices within a minute
const ARRIVING_TRIES = 14
const STALLED = 45_000 // ms in which nothing is sent
const CHECKED = 180_000 // ms that the server may take over what it has got
const AGAIN = new Set([0, 429, 500, 502, 503, 504, 507])
const SAYS_WHY = new Set([429, 503, 507]) // in a sentence that is worth showing while one waits

/** 32 hexadecimal digits; `randomUUID` would need a secure context. */
const randomId = () =>
  crypto.randomUUID?.() ??
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

export class Uploads extends EventTarget {
  /**
   * Each item: {id, name, size, sent, state, message}; states are "waiting" -> "sending" -> "checking", then it is
   * gone; "retrying" after a broken line, "stuck" after too many of them, "refused" for good.
   */
  items = []

  /**
   * Dispatches `change` with every step, and `taken` with the server's answer.
   * @param {(post: object) => Promise<{status: number, told: object, after: number}>} [send] posts; rejects when the
   *   line breaks. `after`: in how many seconds to come again, where the server says so
   */
  constructor({send = post, delays = DELAYS} = {}) {
    super()
    this.send = send
    this.delays = delays
  }

  /** Whether leaving the page would lose something. */
  get active() {
    return this.items.some(({state}) => state !== "refused")
  }

  /** Upload files, with what was said of them. */
  add(files, said) {
    for (const file of files) {
      this.items.push({
        id: randomId(), file, said, name: said.name || file.name, size: file.size, sent: 0, state: "waiting", message: "",
      })
    }
    this.changed()
    this.work()
  }

  /** Stop, and forget it. */
  abort(item) {
    this.items = this.items.filter((other) => other !== item)
    item.ending?.abort()
    item.wake?.()
    this.changed()
  }

  /** Try what is stuck once more, under the same key or none: the server knows it again, should it have got it after all. */
  again(item) {
    this.become(item, "waiting")
    this.work()
  }

  /** The network may be back: do not wait. */
  hurry() {
    for (const item of this.items) item.wake?.()
  }

  async work() {
    if (this.working) return
    this.working = true
    for (let item; (item = this.items.find(({state}) => state === "waiting"));) await this.deliver(item)
    this.working = false
  }

  async deliver(item) {
    const left = {broken: [...this.delays], arriving: Array(ARRIVING_TRIES).fill(ARRIVING_DELAY)}
    for (;;) {
      // It comes under the same key each time, for what it is given follows from that as well.
      if (item.key === undefined) item.key = keys.owners()[0] ?? null
      const {status, told, after} = await this.attempt(item)
      if (!this.items.includes(item)) return
      if (status === 202) {
        this.items = this.items.filter((other) => other !== item)
        this.dispatchEvent(new CustomEvent("taken", {detail: told}))
        return this.changed()
      }
      if (status === 403 && item.key && told?.code !== "api_key") {
        // Nothing is under that key any more: it comes under another, or a new one.
        keys.unshelve(item.key)
        item.key = undefined
        continue
      }
      const again = status === STILL_ARRIVING ? left.arriving : AGAIN.has(status) ? left.broken : []
      // Who is asked to come again is not turned away for coming.
      const delay = SAYS_WHY.has(status) && after ? after * 1_250 : again.shift()
      if (delay === undefined) {
        const stuck = status === STILL_ARRIVING || AGAIN.has(status) || told?.code === "api_key"
        return this.become(item, stuck ? "stuck" : "refused", say.refusedUpload(status, told?.detail))
      }
      this.become(item, "retrying", SAYS_WHY.has(status) ? say.refusedUpload(status, told?.detail) : say.UPLOAD_BROKE)
      await new Promise((resolve) => {
        item.wake = resolve
        setTimeout(resolve, delay * (0.8 + Math.random() / 5))
      })
      item.wake = null
      if (!this.items.includes(item)) return
    }
  }

  async attempt(item) {
    const bearer = item.key && {Authorization: `Bearer ${item.key}`}
    const headers = {...withApiKey(), "Idempotency-Key": item.id, ...bearer}
    const {type, body} = form(item)
    item.ending = new AbortController()
    const {signal} = item.ending
    let patience
    const progress = (sent) => {
      clearTimeout(patience)
      item.sent = Math.min(sent, item.size)
      this.become(item, sent < body.size ? "sending" : "checking")
      patience = setTimeout(() => item.ending.abort(), sent < body.size ? STALLED : CHECKED)
    }
    progress(0)
    try {
      const url = address("recordings")
      return await this.send({url, headers: {...headers, "Content-Type": type}, body, progress, signal})
    } catch {
      return {status: 0, told: null}
    } finally {
      clearTimeout(patience)
    }
  }

  become(item, state, message = "") {
    Object.assign(item, {state, message})
    this.changed()
  }

  changed() {
    this.dispatchEvent(new Event("change"))
  }
}

/**
 * The form, which refers to the file without reading it. Made here and not by the browser, whose boundary has another
 * length each time: the server tells by the length that a repeated upload is the same.
 */
function form({id, file, said}) {
  const boundary = `tonetrack-${id}`
  const head = `--${boundary}\r\nContent-Disposition: form-data`
  const parts = []
  for (const [name, value] of Object.entries(said)) {
    if (value !== "" && value !== null) parts.push(`${head}; name="${name}"\r\n\r\n${value}\r\n`)
  }
  const called = file.name.replace(/"/g, "%22").replace(/[\r\n]/g, " ")
  parts.push(`${head}; name="file"; filename="${called}"\r\n\r\n`, file, `\r\n--${boundary}--\r\n`)
  return {type: `multipart/form-data; boundary=${boundary}`, body: new Blob(parts)}
}

/** `fetch` does not say how much has been sent, so this is what it replaced. */
function post({url, headers, body, progress, signal}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open("POST", url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.responseType = "json"
    request.upload.onprogress = ({loaded}) => progress(Math.min(loaded, body.size - 1))
    request.upload.onload = () => progress(body.size)
    request.onload = () =>
      resolve({status: request.status, told: request.response, after: Number(request.getResponseHeader("Retry-After"))})
    request.onerror = request.onabort = () => reject(new Error("the line broke"))
    signal.addEventListener("abort", () => request.abort())
    request.send(body)
  })
}
