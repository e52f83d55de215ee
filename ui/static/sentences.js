/** Everything that can go wrong, each in a sentence of its own. */

export const INSECURE =
  "Browsers open the microphone only on https pages or on this computer itself. Open the page over https, or as " +
  "http://localhost on the machine where ToneTrack runs. Viewer links work from here."

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
  denied: "This link's key does not fit the session. Ask for the link again, and copy all of it.",
  erased: "This session has been erased. Nothing of it is left.",
}

/** What stands in place of the ribbons until there are any. */
export const BEFORE =
  "Press record and speak: each voice gets a lane here, and within a second or so its colour shows how it sounds."
export const LISTENING = "Listening. Each voice gets a lane here as it speaks, and its colour shows how it sounds."
export const LOADING = "Loading the conversation."
export const NOT_YET = "Nobody has spoken yet. Each voice gets a lane here as it speaks."
export const NOBODY = "Nobody was heard in this session."

export const NO_LINK = "The connection to ToneTrack is lost. The page comes back by itself"

export const OVERFLOW =
  "The server has been away for ten minutes: what is said now is not kept. Everything before will still be sent."

/** What stands in the way of a recording before it starts; empty when nothing does. */
export function missing(purpose, agreed) {
  if (!purpose && !agreed) return "First choose a purpose and confirm that everyone has agreed."
  if (!purpose) return "First choose a purpose."
  if (!agreed) return "First confirm that everyone who will be heard has agreed."
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

/** Another company hears it. */
export const GOOGLE = "Sound is sent to Google to tell the speakers apart."

/** Why a session is not shown; empty when it is. */
export const refusal = (state) => SESSION[state] ?? ""
