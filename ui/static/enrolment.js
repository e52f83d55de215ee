/** The dialog in which somebody enrols their voice: it listens for some seconds, and sends what it has heard. */

import * as api from "./api.js"
import {askForApiKey, showLevel} from "./controls.js"
import {element as $, write} from "./elements.js"
import {Microphone, RATE} from "./microphone.js"
import * as say from "./sentences.js"
import {wav} from "./wav.js"

const SECONDS = 12 // of sound: some ten of speech, with what somebody takes to begin and to breathe
const PATIENCE = 60_000 // ms
const FRAMES = 2 * SECONDS

let ending = null // aborts what is under way
let sound = null // what was heard and has not arrived

/** @param {(voice: object) => void} enrolled is told what the service says of a new voice */
export function wire(enrolled) {
  $("enrol-form").onsubmit = (event) => {
    event.preventDefault()
    begin(enrolled)
  }
  $("enrol-cancel").onclick = () => $("enrol-dialog").close()
  $("enrol-dialog").onclose = close
}

export function open() {
  show("idle")
  $("enrol-dialog").showModal()
}

/** Of all that was said and heard nothing stays here. */
function close() {
  ending?.abort()
  sound = null
  $("enrol-form").reset()
}

async function begin(enrolled) {
  const mine = ending = new AbortController()
  try {
    const heard = sound ?? await listen(mine.signal)
    mine.signal.throwIfAborted()
    sound = heard
    show("sending")
    const voice = await api.enrol(form(), AbortSignal.any([mine.signal, AbortSignal.timeout(PATIENCE)]))
    $("enrol-dialog").close()
    enrolled(voice)
  } catch (error) {
    if (mine.signal.aborted) return
    if (error.code === "api_key") askForApiKey()
    if (!say.worthAgain(error)) sound = null
    show("idle", say.notEnrolled(error))
  }
}

/** Some seconds of the microphone's sound. Rejects with the browser's DOMException where there is none, and if aborted. */
async function listen(signal) {
  show("asking")
  const microphone = await Microphone.open()
  const frames = []
  try {
    signal.throwIfAborted()
    show("listening")
    await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason))
      microphone.addEventListener("lost", () => reject(new DOMException("it was unplugged", "NotReadableError")))
      microphone.addEventListener("level", ({detail}) => showLevel(detail, $("enrol-meter")))
      microphone.addEventListener("frame", ({detail}) => {
        frames.push(detail)
        $("enrol-progress").value = frames.length / FRAMES
        if (frames.length === FRAMES) resolve()
      })
      microphone.record("pcm16")
    })
  } finally {
    await microphone.close()
  }
  return wav(frames.slice(0, FRAMES), RATE) // with letting go comes what has been cut off
}

function form() {
  const said = new FormData()
  said.append("name", $("enrol-name").value)
  said.append("days", $("enrol-days").value)
  said.append("consent", "true")
  said.append("file", sound, "voice.wav")
  return said
}

/** @param {"idle"|"asking"|"listening"|"sending"} state */
function show(state, wrong = "") {
  $("enrol-dialog").dataset.state = state
  $("enrol-asked").disabled = state !== "idle"
  $("enrol-begin").hidden = state !== "idle"
  write($("enrol-begin"), sound ? "Send again" : wrong ? "Speak again" : "Speak")
  write($("enrol-told"), say.enrolling(state, SECONDS))
  write($("enrol-wrong"), wrong)
  $("enrol-wrong").hidden = !wrong
  for (const id of ["enrol-progress", "enrol-meter"]) $(id).hidden = state !== "listening"
  $("enrol-progress").value = 0
  showLevel(0, $("enrol-meter"))
  // The button that was pressed goes, and on the other one the next press of a key would end it all.
  if (state !== "idle") $("enrol-told").focus()
  else if (wrong) $("enrol-begin").focus()
}
