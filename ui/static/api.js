/** Where the service is, and what the page asks of it without its document: corrections, with the recorder's key. */

import * as say from "./sentences.js"

const PATIENCE = 10_000 // ms

/** A session's address at the service. */
export function sessionUrl(id) {
  const {apiUrl, apiPort} = document.documentElement.dataset
  const base = apiUrl || `${location.protocol}//${location.hostname}:${apiPort}`
  return `${base.replace(/\/$/, "")}/v1/sessions/${encodeURIComponent(id)}`
}

/** The recorder's WebSocket. */
export function audioUrl(id) {
  const url = new URL(`${sessionUrl(id)}/audio`)
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
  return url.href
}

/** Call a speaker by a name; an empty one takes the name away. Throws an `Error` whose message is for the reader. */
export const rename = (mine, speaker, name) => send("PATCH", mine, `speakers/${speaker}`, {name})

/** A speaker is the same person as another. Throws like `rename`. */
export const merge = (mine, speaker, into) => send("POST", mine, `speakers/${speaker}/merge`, {into})

async function send(method, {session, recorderKey}, path, body) {
  const headers = {Authorization: `Bearer ${recorderKey}`, "Content-Type": "application/json"}
  let answer
  try {
    answer = await fetch(`${sessionUrl(session)}/${path}`, {
      method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE),
    })
  } catch {
    throw new Error(say.NO_ANSWER)
  }
  if (answer.ok) return
  const told = await answer.json().catch(() => null)
  throw new Error(say.refusedCorrection(answer.status, told?.detail))
}
