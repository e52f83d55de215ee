/** The microphone: its sound as frames of PCM16 or webm, and how loud it is. */

export const RATE = 16_000
const TIMESLICE = 250 // ms of webm in a frame
const BITRATE = 24_000

/** Processing for calls flattens the very things that emotion is heard by. */
const SOUND = {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false}

/** Whether this page may ask for a microphone at all: browsers forbid it on plain http from another machine. */
export const permitted = () => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia)

export const webmSupported = () => Boolean(window.MediaRecorder?.isTypeSupported("audio/webm;codecs=opus"))

export class Microphone extends EventTarget {
  /** Asks for permission. Rejects with the browser's DOMException where there is none, or no microphone. */
  static async open() {
    const stream = await navigator.mediaDevices.getUserMedia({audio: SOUND})
    const microphone = new Microphone(stream)
    try {
      await microphone.listen()
    } catch (error) {
      await microphone.close()
      throw error
    }
    return microphone
  }

  /**
   * Dispatches `level` (detail: 0 to 1), `frame` (detail: ArrayBuffer, once recording) and `lost` when it is unplugged.
   */
  constructor(stream) {
    super()
    this.stream = stream
    this.track = stream.getAudioTracks()[0]
    this.name = this.track.label || "Microphone"
    this.track.onended = () => this.dispatchEvent(new Event("lost"))
  }

  async listen() {
    this.context = new AudioContext({sampleRate: RATE})
    try {
      this.source = this.context.createMediaStreamSource(this.stream)
    } catch {
      // Firefox joins a microphone only to a context of its own rate; the worklet then resamples.
      await this.context.close()
      this.context = new AudioContext()
      this.source = this.context.createMediaStreamSource(this.stream)
    }
    await this.context.audioWorklet.addModule(new URL("worklet.js", import.meta.url))
    this.cutter = new AudioWorkletNode(this.context, "cutter", {numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit"})
    this.cutter.port.onmessage = ({data}) => this.hear(data)
    this.source.connect(this.cutter)
    await this.context.resume()
  }

  hear({level, pcm, flushed}) {
    if (level !== undefined) this.dispatchEvent(new CustomEvent("level", {detail: level}))
    if (pcm && this.codec === "pcm16") this.frame(pcm)
    if (flushed) this.flushed?.()
  }

  /** Give frames from now on. @param {"pcm16"|"webm"} codec */
  record(codec) {
    this.codec = codec
    if (codec !== "webm") return
    this.recorder = new MediaRecorder(this.stream, {mimeType: "audio/webm;codecs=opus", audioBitsPerSecond: BITRATE})
    this.blobs = Promise.resolve() // in order: a short blob must not overtake a longer one
    this.recorder.ondataavailable = ({data}) => {
      this.blobs = this.blobs.then(async () => data.size && this.frame(await data.arrayBuffer()))
    }
    this.recorder.start(TIMESLICE)
  }

  /** Give the last frame and let go of the microphone. */
  async close() {
    if (this.codec === "pcm16" && this.context?.state === "running") {
      await Promise.race([
        new Promise((resolve) => { this.flushed = resolve; this.cutter.port.postMessage("flush") }),
        new Promise((resolve) => { setTimeout(resolve, 500) }),
      ])
    }
    if (this.recorder && this.recorder.state !== "inactive") {
      await new Promise((resolve) => { this.recorder.onstop = resolve; this.recorder.stop() })
      await this.blobs
    }
    this.track.onended = null
    this.track.stop()
    if (this.context && this.context.state !== "closed") await this.context.close()
  }

  frame(payload) {
    this.dispatchEvent(new CustomEvent("frame", {detail: payload}))
  }
}
