/** Everything that can go wrong, each in a sentence of its own, and whatever else is said in more than one place. */

import {clock} from "./elements.js"

export const INSECURE =
  "Browsers open the microphone only on https pages or on this computer itself. Open the page over https, or as " +
  "http://localhost on the machine where ToneTrack runs. Viewer links and uploads work from here."

const MICROPHONE = {
  NotAllowedError: "The browser did not allow the microphone. Allow it beside the address bar, then press record again.",
  SecurityError: "The browser did not allow the microphone. Allow it beside the address bar, then press record again.",
  NotFoundError: "No microphone was found. Plug one in, then press record again.",
  NotReadableError: "Another program holds the microphone, or it does not answer. Free it, then press record again.",
}

const LINE = {
  4400: "The server did not understand this page. Reload it; an older version may have been kept.",
  4401: "The server does not accept this recorder's key any more.",
  4404: "This session has been erased or has expired, so recording has stopped.",
  4409: "Another device or tab has taken over the recording. This one only watches now.",
  4410: "This session has been ended, so nothing more can be recorded in it.",
  4413: "The server refused a piece of audio as too large. Recording has stopped.",
  4415: "The server cannot decode what this browser sends. Choose “uncompressed” and start anew.",
}

const SESSION = {
  unknown: "There is no such session: it has been erased or has expired, or the link is not complete.",
  denied: "This link's key does not fit the session. It may have been replaced: ask for the link again, and copy all of it.",
  erased: "This session has been erased. Nothing of it is left.",
}

const ERASED_RECORDING = "This recording has been erased. Nothing of it is left."

/** What stands in place of the ribbons until there are any. */
export const BEFORE =
  "Press record and speak: each voice gets a lane here, and within a second or so its colour shows how it sounds. " +
  "A recording that you upload looks the same, once it has been heard."
export const LISTENING = "Listening. Each voice gets a lane here as it speaks, and its colour shows how it sounds."
export const LOADING = "Loading the conversation."
export const NOT_YET = "Nobody has spoken yet. Each voice gets a lane here as it speaks."
export const NOBODY = "Nobody was heard in this session."

export const NO_LINK = "The connection to ToneTrack is lost. The page comes back by itself"

export const OVERFLOW =
  "The server has been away for ten minutes: what is said now is not kept. Everything before will still be sent."

/** What stands in the way of a recording before it starts; empty when nothing does. */
export function missing({purpose, remark, consent: agreed}, keyWanted = false) {
  if (!purpose && !agreed) return "First choose a purpose and confirm that everyone has agreed."
  if (!purpose) return "First choose a purpose."
  if (purpose === "other" && !remark) return "First tell in the remark what the purpose is."
  if (!agreed) return "First confirm that everyone who will be heard has agreed."
  if (keyWanted) return "First enter the API key that this server asks for."
  return ""
}

/** Why a recorder has failed. */
export function failure({microphone, code, message}) {
  if (microphone) return MICROPHONE[microphone] ?? `The microphone could not be opened (${microphone}).`
  return LINE[code] ?? message ?? "The recording has failed."
}

const kept = (frames) => (frames >= 4 ? ` ${Math.round(frames / 4)} s are kept to be sent.` : "")

/** The microphone was unplugged. */
export const paused = (unsent) =>
  `The microphone has gone away. Plug it in again and continue recording.${kept(unsent)}`

/** How a lost line stands. */
export function waiting({attempt, busy}, unsent) {
  if (busy) return "The server is full at the moment. Recording goes on here, and is sent when there is room."
  return `No connection to the server (attempt ${attempt}). Keep talking.${kept(unsent)}`
}

/** How a lost line stands when nothing more is recorded. */
export function finishing({attempt, busy}, unsent) {
  const why = busy ? "The server is full at the moment." : `No connection to the server (attempt ${attempt}).`
  return `${why} What was said is still being sent: please leave this page open.${kept(unsent)}`
}

/** A correction that may not have arrived. */
export const NO_ANSWER = "ToneTrack does not answer, so this may not have been changed. Please try again."

/** Why a correction was not taken; `detail` is the service's own sentence, where it has one. */
export function refusedCorrection(status, detail) {
  if (status === 401 || status === 403) return "The server does not accept this recorder's key any more."
  if (status >= 500) return "ToneTrack cannot change this at the moment. Please try again."
  return typeof detail === "string" && detail ? detail : "This could not be changed."
}

export const renamed = (speaker, name) => (name ? `${speaker} is now called ${name}.` : `${speaker} has no name any more.`)
export const merged = (person, into) => `${person} and ${into} are now one person.`

/** What a merge does; `name` is what both are called afterwards, where that is new. */
export const merging = (person, into, name) =>
  `All that ${person} has said, and will say, then belongs to ${into}, for everyone who watches: one lane, one card` +
  `${name ? `, called ${name}` : ""}. This cannot be undone.`

/** What cards, values and mood map are of once a conversation is over. */
export const OVER_ALL = "over the whole recording"
export const OF_THEIR_TALK = `of the time that they talked, ${OVER_ALL}`
export const probabilitiesPlot = (whole) =>
  `The selected person's eight probabilities over time; ${whole ? `their means ${OVER_ALL}` : "the newest"} are listed below.`
export const moodsPlot = (whole) =>
  `Each person's voice between unpleasant and pleasant, calm and excited${whole ? `: its middle and spread ${OVER_ALL}` : ""}.`

/** Why a session is not shown; empty when it is. */
export const refusal = (state, uploaded) => (state === "erased" && uploaded ? ERASED_RECORDING : SESSION[state] ?? "")

// Who looked

export const ASKING_FOR_LOOKS = "Asking …"
export const NOBODY_LOOKED = "Nobody has looked yet."
export const LOOKS_ARE_JOINED =
  "Looks less than ten minutes apart are told as one. Who holds a key is not known, and no addresses are kept."
const KEYS = {recorder: "Your key", owner: "Your key", viewer: "Viewer link"}
const SEEN = {
  page: "this page", timeline: "the timeline", events: "the events as they came", audio: "the sound", report: "the report",
  export: "a download",
}

export const look = (who, what) => `${KEYS[who] ?? who}: ${SEEN[what] ?? what}`

/** From when to when, Unix seconds. */
export function span(since, until) {
  const [from, to] = [since, until].map((at) => new Date(at * 1000))
  const time = (at) => at.toLocaleTimeString([], {timeStyle: "short"})
  const today = from.toDateString() === new Date().toDateString()
  const day = today ? "" : `${from.toLocaleDateString([], {dateStyle: "medium"})}, `
  return `${day}${time(from)}${time(from) === time(to) ? "" : ` to ${time(to)}`}`
}

// Enrolled voices

/** What an enrolment of so many seconds waits for. */
export const enrolling = (state, seconds) => ({
  idle: `Then speak for ${seconds} seconds, with nobody else to be heard. Read this aloud, or say what you like, in any ` +
    "language:",
  asking: "Please allow the microphone in the browser, and be ready to speak:",
  listening: "Listening. Please speak:",
  sending: "Being heard …",
})[state]
export const takingPart = (count) => (count ? `${count} ${count === 1 ? "takes" : "take"} part` : "")
export const keptUntil = (at) => `until ${new Date(at * 1000).toLocaleDateString([], {dateStyle: "medium"})}`
export const enrolled = ({name, expires_at: at}) => `The voice of ${name} is enrolled, ${keptUntil(at)}.`
export const voiceErased = (name) => `The voice of ${name} is erased.`
export const voicesGone = (names) =>
  `These voices are not enrolled any more: ${names.join(", ")}. They have expired or were erased. Try again without them.`
export const voicesShut = (names) =>
  `The service refuses the keys to these voices: ${names.join(", ")}. They are kept in this browser; record without them.`

/** Whether a voice may be sent once more as it is: nothing was wrong with its sound. */
export const worthAgain = ({status}) => status === 0 || status === 429 || status >= 500

/** Why a voice was not enrolled: a `Refusal` of the service, or a DOMException of the microphone. */
export function notEnrolled({status, message, name}) {
  if (status === undefined) return failure({microphone: name}).replace("press record again", "try again")
  if (!status) return "ToneTrack’s service does not answer at the moment. Please try again."
  return message || "The server could not enrol this voice. Please try again."
}

// Uploaded recordings

export const API_AWAY = "ToneTrack’s service does not answer at the moment; the page asks again by itself."
export const UPLOAD_BROKE = "The connection broke. It is tried again by itself."
export const NO_FOLDERS = "Folders cannot be uploaded; choose the files in them."
export const ERASED_ONCE_HEARD = "The sound is erased as soon as it has been heard."
export const KEPT = "The sound is kept for as long as the results, and erased with them."
export const NOT_KEPT = "The sound was not kept, so it cannot be played along."
export const CANNOT_PLAY = "This browser cannot play sound of this kind."

/** How much of the sound is there; `bytes` are those of a large file, for which one waits. */
export function loadingSound(share, bytes) {
  const percent = share === null ? "" : `, ${Math.floor(100 * share)} %`
  return bytes ? `${size(bytes)}, downloading${percent}` : `Loading the sound${percent || " …"}`
}

/** Why something asked of the service did not come to pass: its own sentence, where it had one. */
export function refused({status, message}) {
  if (!status) return "ToneTrack’s service does not answer at the moment. Please try again."
  if (status === 401 || status === 403) return "The server does not accept this browser’s key any more."
  return message || "That did not work. Please try again."
}

/** Why a session was not opened: the service's own sentence, where it had one. */
export function notOpened({status, message}) {
  if (!status) return "ToneTrack’s service does not answer at the moment. Please try again."
  return message || "The server could not open a session. Please try again."
}

/** Why a session is still there. */
export function notErased({status, message}) {
  const why = (status && message) || "ToneTrack’s service does not answer at the moment."
  return `This session could not be erased. ${why} Please try again.`
}

/** Why an upload was not taken in. */
export function refusedUpload(status, detail) {
  if (typeof detail === "string" && detail) return detail
  if (!status) {
    return "ToneTrack’s service does not answer, or the file has been moved or changed. Nothing is taken in twice if you " +
      "try again."
  }
  if (status === 413) return "The file is too large for this server."
  return "The server could not take this in. Please try again."
}

/** How an upload stands. */
export function uploading({state, size, sent}) {
  const percent = size ? Math.floor((100 * sent) / size) : 0
  return {
    waiting: "Is uploaded next", sending: `Uploading, ${percent} %`, checking: "Uploaded; being checked",
    retrying: "Uploading, interrupted", stuck: "Not uploaded", refused: "Not taken in",
  }[state]
}

/** How a recording stands. */
export function standing({state, position, progress}) {
  if (state === "queued") return position > 1 ? `Waiting, as number ${position}` : "Waiting, as the next"
  if (state === "running") return `Being heard, ${Math.floor(100 * progress)} %`
  return {done: "Done", failed: "Could not be heard", cancelled: "Cancelled"}[state]
}

/** What is being done to a recording, and how far that is. */
export function step({step: doing, done, seconds}) {
  if (!doing) return ""
  return seconds ? `${doing}: ${clock(done)} of ${clock(seconds)}` : `${doing}: ${clock(done)}`
}

/** What stands in place of the ribbons while a recording is not heard to its end. */
export function untilHeard(job) {
  const told = {
    queued: `${standing(job)}. What is heard in it will appear here by itself.`,
    running: `${standing(job)}. What is heard in it will appear here by itself.`,
    done: LOADING,
    failed: `This recording could not be heard. ${job.error ?? ""}`,
    cancelled: "This recording was cancelled before it was heard.",
  }
  return told[job.state]
}

/** What becomes of a recording’s sound. */
export function fate({state, keep_audio: keep, audio}) {
  if (state === "queued" || state === "running") return keep ? KEPT : ERASED_ONCE_HEARD
  if (!audio) return "The sound has been erased."
  return keep ? KEPT : "The sound is still there, in case it is sent again."
}

/** An amount of data. */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`
}

export function duration(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60))
  const hours = Math.floor(minutes / 60)
  if (hours >= 48) return `${Math.round(hours / 24)} days`
  const parts = [hours && `${hours} h`, minutes % 60 && `${minutes % 60} min`]
  return parts.filter(Boolean).join(" ")
}

// What is asked before something is done that cannot be undone

export const ERASE_SESSION = {
  title: "Erase this session?", no: "Keep it", yes: "Erase",
  text: "Everything that was read from it goes now, for every viewer, and cannot be brought back.",
}
export const eraseRecording = (name) => ({
  title: `Erase “${name}”?`, no: "Keep it", yes: "Erase",
  text: "What is left of its sound and everything that was read from it go now, for every viewer, and cannot be brought " +
    "back.",
})
export const eraseVoice = (name) => ({
  title: `Erase the voice of ${name}?`, no: "Keep it", yes: "Erase",
  text: "What was kept of it goes now and cannot be brought back. Recordings in which it has been recognised stay as they are.",
})
export const RENEW = {
  title: "Make another viewer link?", no: "Keep it", yes: "New link",
  text: "Whoever has the link that you gave out sees nothing any more, at once and for good. You are given another.",
}
export const FORGET = {
  title: "Forget these recordings here?", no: "Keep the keys", yes: "Forget",
  text: "They stay where they are until they expire, but this browser finds them no more, and can neither rename anyone " +
    "in them nor erase them. Viewer links go on working.",
}
