/** Where the service is, and what the page asks of it without its document: sessions, corrections, recordings. */

import {apiKey} from "./keys.js"
import * as say from "./sentences.js"

const PATIENCE = 10_000 // ms
const PAGE = 50 // recordings asked for at once

/** The service has said no, or nothing: `status` is then 0. The message is its own sentence, where it had one. */
export class Refusal extends Error {
  constructor(status, told = null) {
    super(typeof told?.detail === "string" ? told.detail : "")
    this.status = status
    this.code = told?.code // "api_key", where it is that key which is missing or wrong
  }
}

/** An address at the service. */
export function address(path) {
  const {apiUrl, apiPort} = document.documentElement.dataset
  const base = apiUrl || `${location.protocol}//${location.hostname}:${apiPort}`
  return `${base.replace(/\/$/, "")}/v1/${path}`
}

/** The recorder's WebSocket. */
export function audioUrl(id) {
  const url = new URL(address(`sessions/${encodeURIComponent(id)}/audio`))
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
  return url.href
}

/** Open a session as it was declared: {id, recorder_key, viewer_key}. Throws a `Refusal`. */
export const open = ({people, ...declared}) =>
  json("sessions", {
    method: "POST", body: {...declared, min_speakers: people, max_speakers: people}, headers: withApiKey(),
  })

/** The header of what costs something. */
export const withApiKey = () => (apiKey() ? {"X-API-Key": apiKey()} : {})

/** Another viewer key for a session or a recording: {viewer_key}. Throws a `Refusal`. */
export const renewViewerKey = ({session: id, recorderKey: key, uploaded}) =>
  json(`${uploaded ? place(id) : `sessions/${encodeURIComponent(id)}`}/viewer-key`, {method: "POST", key})

/** Call a speaker by a name; an empty one takes the name away. Throws an `Error` whose message is for the reader. */
export const rename = (mine, speaker, name) => correct("PATCH", mine, `speakers/${speaker}`, {name})

/** A speaker is the same person as another. Throws like `rename`. */
export const merge = (mine, speaker, into) => correct("POST", mine, `speakers/${speaker}/merge`, {into})

async function correct(method, {session, recorderKey}, path, body) {
  try {
    await call(`sessions/${encodeURIComponent(session)}/${path}`, {method, key: recorderKey, body})
  } catch ({status, message}) {
    throw new Error(status ? say.refusedCorrection(status, message) : say.NO_ANSWER)
  }
}

const place = (id) => `recordings/${encodeURIComponent(id)}`

/** A page of the recordings under a key, newest first: {recordings, next}. Like all below it throws a `Refusal`. */
export const recordings = (key, cursor = null) =>
  json(`recordings?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, {key})

/** How far a recording is. */
export const recording = (id, key) => json(place(id), {key})

export const cancel = (id, key) => json(`${place(id)}/cancel`, {method: "POST", key})

export const retry = (id, key) => json(`${place(id)}/retry`, {method: "POST", key})

export const erase = (id, key) => json(place(id), {method: "DELETE", key})

export const eraseSession = (id, key) => json(`sessions/${encodeURIComponent(id)}`, {method: "DELETE", key})

/** Who has looked, the newest first: {looks}. @param {"sessions"|"recordings"} kind */
export const looks = (kind, id, key) => json(`${kind}/${encodeURIComponent(id)}/looks`, {key})

/** Enrol a voice, of which the form says all: {id, key, name, expires_at, …}. */
export const enrol = (form, signal) => json("voices", {method: "POST", form, headers: withApiKey(), signal})

const voicePlace = (id) => `voices/${encodeURIComponent(id)}`

/** What is known of a voice. */
export const voice = (id, key) => json(voicePlace(id), {key})

export const eraseVoice = (id, key) => json(voicePlace(id), {method: "DELETE", key})

/**
 * A file of a recording as a `Blob`: a timeline, the report, the sound.
 * @param {(share: number) => void} [progress] is told how much of it is there, where its length is known
 * @param {AbortSignal} [signal]
 */
export async function file(id, name, key, progress = () => {}, signal = undefined) {
  const answer = await call(`${place(id)}/${name}`, {key, signal})
  const length = Number(answer.headers.get("Content-Length"))
  const parts = []
  let arrived = 0
  try {
    for (const reader = answer.body.getReader(); ;) {
      const {done, value} = await reader.read()
      if (done) break
      parts.push(value)
      arrived += value.byteLength
      if (length) progress(Math.min(1, arrived / length))
    }
  } catch {
    throw new Refusal(0)
  }
  return new Blob(parts, {type: answer.headers.get("Content-Type") ?? ""})
}

const json = async (path, asked) => (await call(path, asked)).json()

/** Ask; `form` is sent in place of JSON, and `signal` stands for the page's own patience, for what may take long. */
async function call(path, {method = "GET", key, body, form, headers = {}, signal = AbortSignal.timeout(PATIENCE)}) {
  const sent = {
    ...headers, ...(key && {Authorization: `Bearer ${key}`}), ...(body && {"Content-Type": "application/json"}),
  }
  let answer
  try {
    answer = await fetch(address(path), {
      method, headers: sent, body: form ?? (body && JSON.stringify(body)), signal, cache: "no-store",
    })
  } catch {
    throw new Refusal(0)
  }
  if (answer.ok) return answer
  const told = await answer.json().catch(() => null)
  throw new Refusal(answer.status, told)
}
