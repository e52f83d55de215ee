/**
 * The recorder's line to the server: numbers frames, keeps them until they are acknowledged, reconnects and goes on
 * where the server left off. It knows neither microphone nor page, so that it can be tested with any socket.
 *
 * A binary frame is its number (4 bytes, big-endian) and the payload; everything else is JSON text.
 */

const PROTOCOL = 1
const FIRST_DELAY = 250 // ms; doubles up to the longest, and half of it is chance so that clients do not return as one
const LONGEST_DELAY = 5_000
const BUSY_DELAY = 10_000 // of which half is chance, too
const OPENING_LIMIT = 10_000 // ms in which a line must be open and welcomed; from then on, heartbeats judge it
const DEAD_AFTER = 3 // heartbeats without a sign of life
const FRAME_LIMIT = 1_200 // frames kept without acknowledgement: ten minutes of half seconds

/** Close codes after which coming back would change nothing. */
const FINAL = new Set([4400, 4401, 4404, 4409, 4410, 4413, 4415])
const TOO_BUSY = 1013
const SESSION_OVER = 4410

/** 32 hexadecimal digits; `randomUUID` would need a secure context. */
const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

export class Connection extends EventTarget {
  /**
   * @param {object} options
   * @param {string} options.url of the session's audio WebSocket
   * @param {string} options.key the recorder key
   * @param {"pcm16"|"webm"} options.codec
   * @param {(url: string) => WebSocket} [options.open] makes a socket
   *
   * Dispatches `state` events whose detail is one of
   *   {state: "connecting"} | {state: "open"} | {state: "waiting", attempt, delay, busy}
   *   {state: "resting"} | {state: "stopped", seconds} | {state: "failed", code, message}
   * and `overflow` when the server has been away for so long that frames are being lost.
   */
  constructor({url, key, codec, open = (address) => new WebSocket(address)}) {
    super()
    this.url = url
    this.key = key
    this.codec = codec
    this.recorder = randomId() // the same on every line, so that a late one does not fence off the one after it
    this.open = open
    this.queue = [] // payloads not acknowledged yet, oldest first
    this.first = null // number of the oldest; unknown until the first welcome
    this.welcomed = false
    this.stopping = false
    this.resting = false
    this.done = false
    this.attempt = 0
    this.heartbeat = 10
    this.overflowed = false
  }

  get unacknowledged() {
    return this.queue.length
  }

  /** Go online, and stay so until stopped or failed. */
  start() {
    this.connect()
  }

  /** Queue a payload; it is sent now or as soon as the line is back. */
  send(payload) {
    if (this.done || this.stopping) return
    if (this.queue.length >= FRAME_LIMIT) {
      // Frames must stay in one unbroken row, so the newest has to go, not the oldest.
      if (!this.overflowed) this.dispatchEvent(new Event("overflow"))
      this.overflowed = true
      return
    }
    this.queue.push(payload)
    if (this.welcomed) this.transmit(this.first + this.queue.length - 1, payload)
  }

  /** No more frames will come: finish once the server has them all. */
  stop() {
    if (this.stopping || this.done) return
    this.stopping = true
    if (this.welcomed) this.tell({type: "stop"})
    else if (this.resting) this.wake()
  }

  /** No frames for a while: hang up as soon as the server has all of those there are. */
  rest() {
    this.resting = true
    this.settle()
  }

  /** There will be frames again. */
  wake() {
    if (!this.resting || this.done) return
    this.resting = false
    if (this.socket) return
    clearTimeout(this.timer)
    this.connect()
  }

  /** Leave without ending the session. */
  close() {
    this.done = true
    this.drop()
  }

  /** The network may be back: do not wait for the next attempt. */
  hurry() {
    if (this.timer && !this.done) {
      clearTimeout(this.timer)
      this.connect()
    }
  }

  connect() {
    this.timer = null
    this.changed({state: "connecting"})
    const socket = this.open(this.url)
    this.socket = socket
    this.refusal = null
    socket.binaryType = "arraybuffer"
    const hello = {type: "hello", protocol: PROTOCOL, key: this.key, codec: this.codec, recorder: this.recorder}
    if (this.codec === "pcm16") Object.assign(hello, {sample_rate: 16_000, channels: 1})
    socket.onopen = () => this.tell(hello)
    socket.onmessage = ({data}) => this.hear(JSON.parse(data))
    socket.onclose = ({code, reason}) => this.lost(code, reason)
    this.opening = setTimeout(() => this.lost(4408, ""), OPENING_LIMIT)
  }

  hear(message) {
    this.heardAt = Date.now()
    switch (message.type) {
      case "welcome":
        return this.resume(message)
      case "ack":
        this.forget(message.next_frame)
        return this.settle()
      case "stopped":
        this.finish({state: "stopped", seconds: message.seconds})
        return
      case "error":
        this.refusal = message // the close that follows says whether it is final
    }
  }

  resume({next_frame: next, heartbeat}) {
    clearTimeout(this.opening)
    this.forget(next)
    this.heartbeat = heartbeat ?? this.heartbeat
    this.welcomed = true
    this.attempt = 0
    this.overflowed = false
    this.queue.forEach((payload, index) => this.transmit(this.first + index, payload))
    if (this.stopping) this.tell({type: "stop"})
    this.pulse = setInterval(() => this.beat(), this.heartbeat * 1000)
    this.changed({state: "open"})
    this.settle()
  }

  forget(next) {
    if (this.first !== null && next > this.first) this.queue.splice(0, next - this.first)
    this.first = next
  }

  settle() {
    if (!this.resting || this.stopping || this.done || this.queue.length) return
    this.drop()
    this.changed({state: "resting"})
  }

  beat() {
    if (Date.now() - this.heardAt > DEAD_AFTER * this.heartbeat * 1000) this.lost(4408, "")
    else this.tell({type: "ping"})
  }

  lost(code, reason) {
    this.drop()
    if (this.done) return
    if (FINAL.has(code)) {
      // The server may have stopped the session just before the line broke; then all is as it was asked.
      if (code === SESSION_OVER && this.stopping) this.finish({state: "stopped", seconds: null})
      else this.finish({state: "failed", code, message: this.refusal?.message ?? reason})
      return
    }
    const busy = code === TOO_BUSY
    const ceiling = busy ? BUSY_DELAY : Math.min(FIRST_DELAY * 2 ** this.attempt, LONGEST_DELAY)
    const delay = ceiling * (0.5 + Math.random() / 2)
    this.attempt += 1
    this.timer = setTimeout(() => this.connect(), delay)
    this.changed({state: "waiting", attempt: this.attempt, delay, busy})
  }

  finish(detail) {
    this.done = true
    this.drop()
    this.changed(detail)
  }

  drop() {
    this.welcomed = false
    clearTimeout(this.opening)
    clearTimeout(this.timer)
    this.timer = null
    clearInterval(this.pulse)
    const socket = this.socket
    this.socket = null
    if (socket) {
      // A dead line may take minutes to close by itself; nothing it says now matters.
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
  }

  transmit(number, payload) {
    const frame = new Uint8Array(4 + payload.byteLength)
    new DataView(frame.buffer).setUint32(0, number)
    frame.set(new Uint8Array(payload), 4)
    this.socket.send(frame)
  }

  tell(message) {
    this.socket?.send(JSON.stringify(message))
  }

  changed(detail) {
    this.dispatchEvent(new CustomEvent("state", {detail}))
  }
}
