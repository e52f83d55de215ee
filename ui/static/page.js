/** Joins the page's parts: document, recorder, controls. What the page shows is worked out anew in `show`. */

import * as api from "./api.js"
import * as controls from "./controls.js"
import * as keys from "./keys.js"
import {Link} from "./link.js"
import {permitted} from "./microphone.js"
import * as people from "./people.js"
import {Recorder} from "./recorder.js"
import * as say from "./sentences.js"
import * as transcript from "./transcript.js"

const SUMMARY_EVERY = 10_000 // ms between readings aloud of who sounds how
const OPEN_AGAIN = 3_000 // ms until a session that could not be opened is asked for again

const root = document.documentElement
const link = new Link()
const recorder = new Recorder()
let mine = keys.addressed() // the session of this page and its keys
let session = {state: "loading"} // what the document says of it
let cards = []
let trouble = "" // why what was asked for last did not come to pass

const address = () => ({url: api.audioUrl(mine.session), key: mine.recorderKey})

/** Ask the document; its answer, or null where the notice says why there is none. */
async function ask(name, fields) {
  let answer = null
  try {
    answer = await link.request(name, fields)
    trouble = ""
  } catch (error) {
    trouble = link.up ? error.message : "" // a lost link has a sentence of its own
  }
  show()
  return answer
}

let reopening
async function openSession() {
  clearTimeout(reopening)
  if (!mine) return
  const answer = await ask("open", {session: mine.session, key: mine.recorderKey ?? mine.viewerKey})
  if (!answer && link.up) reopening = setTimeout(openSession, OPEN_AGAIN)
}

/** The session to record: the one of this page, or a new one. */
async function sessionToRecord(codec) {
  if (!mine) {
    const created = await link.request("create", controls.declaration())
    mine = {session: created.session, recorderKey: created.recorder_key, viewerKey: created.viewer_key, codec}
    keys.keep(mine)
    openSession()
  }
  return address()
}

function press() {
  if (recorder.active) return recorder.state === "asking" ? undefined : recorder.stop()
  if (document.getElementById("record").disabled) return undefined
  const codec = mine?.codec ?? controls.codec()
  return recorder.start(codec, () => sessionToRecord(codec))
}

async function download() {
  const answer = await ask("download")
  if (!answer) return
  const {filename, text} = answer
  const url = URL.createObjectURL(new Blob([text], {type: "application/json"}))
  Object.assign(document.createElement("a"), {href: url, download: filename}).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

async function step(by) {
  const answer = await ask("step", {by})
  if (answer) document.getElementById("turn").textContent = answer.text
}

function dress() {
  link.ask("dress", {
    dark: root.dataset.theme === "dark",
    width: document.querySelector(".ribbons").clientWidth - 110,
  })
}

/** What can be recorded, in the order in which it would be found out. */
function obstacle() {
  if (!permitted()) return "This page may not use a microphone."
  if (!link.up) return "Waiting for the connection."
  if (!mine) return say.missing(controls.declaration().purpose, controls.declaration().consent)
  if (mine.codec === "webm") return "A low-bandwidth recording cannot be continued after an interruption."
  return ""
}

function notice() {
  if (!link.up && session.state !== "loading") return `${say.NO_LINK} (attempt ${link.attempt}).`
  if (say.refusal(session.state)) return say.refusal(session.state)
  if (recorder.overflow) return say.OVERFLOW
  if (recorder.state === "failed") return say.failure(recorder.detail)
  if (recorder.state === "paused" && !session.stopped) return say.paused(recorder.unsent)
  if (recorder.detail.state === "waiting") {
    return (recorder.state === "stopping" ? say.finishing : say.waiting)(recorder.detail, recorder.unsent)
  }
  if (!mine && !permitted()) return say.INSECURE
  return trouble || session.trouble || session.warning || ""
}

function state() {
  if (!link.up && session.state !== "loading") return "reconnecting"
  if (recorder.state === "reconnecting") return "reconnecting"
  return session.state
}

function empty() {
  if (recorder.active) return say.LISTENING
  if (session.state === "loading") return say.LOADING
  if (!mine) return say.BEFORE
  return session.stopped ? say.NOBODY : say.NOT_YET
}

function drawPeople() {
  people.draw(cards, session.selected, session.role === "recorder" && Boolean(mine?.recorderKey))
}

function show() {
  const isRecorder = session.role === "recorder"
  Object.assign(root.dataset, {
    state: state(),
    phase: mine ? "session" : "setup",
    role: session.role ?? "none",
    recorder: recorder.state,
    speakers: cards.length,
    readings: session.readings ?? 0,
  })
  controls.showNotice(notice(), ["erased", "ready"].includes(session.state) || notice() === session.warning)
  controls.showEmpty(empty())
  controls.showHeader(session, state(), isRecorder ? mine : null)
  controls.showRecorder({recorder, session, mine, obstacle: obstacle()})
  controls.showFacts(session)
  controls.showView(session)
}

link.addEventListener("up", () => {
  dress()
  openSession()
  session = mine ? {...session, state: "loading"} : {state: "ready"}
  show()
})
link.addEventListener("down", show)
link.addEventListener("session", ({detail}) => {
  // A new document knows nothing of the session until it has been opened.
  if (mine && detail.state === "ready") return
  session = detail
  if (session.state === "erased" && mine) {
    keys.forget(mine.session)
    if (recorder.state !== "idle") recorder.abandon()
    document.getElementById("turn").textContent = ""
    read("")
  }
  drawPeople()
  show()
})
link.addEventListener("people", ({detail}) => {
  cards = detail
  drawPeople()
  show()
})
link.addEventListener("said", ({detail}) => transcript.draw(detail))

let readAt = 0
let reading
/** Have a screen reader say it; what comes too soon after the last waits, and only the newest is then said. */
function read(text) {
  clearTimeout(reading)
  reading = setTimeout(() => {
    readAt = Date.now()
    document.getElementById("summary").textContent = text
  }, text ? readAt + SUMMARY_EVERY - Date.now() : 0)
}
link.addEventListener("summary", ({detail}) => read(detail))

recorder.addEventListener("change", show)
recorder.addEventListener("level", () => controls.showLevel(recorder.level))
addEventListener("online", () => {
  link.hurry()
  recorder.hurry()
})
addEventListener("beforeunload", (event) => {
  if (recorder.active || recorder.unsent) event.preventDefault()
})

people.wire({
  choose: (speaker) => link.ask("select", {speaker}),
  rename: (speaker, name) => api.rename(mine, speaker, name),
  merge: (speaker, into) => api.merge(mine, speaker, into),
})
controls.wire({
  press,
  step,
  download,
  dress,
  changed: show,
  finish: () => recorder.finish(mine.codec, address()),
  erase: () => ask("erase"),
  view: (mode) => link.ask("view", {mode}),
})
show()
link.start().catch((error) => {
  console.error(error)
  session = {state: "ready"}
  link.retry()
})
