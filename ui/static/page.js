/** Joins the page's parts: document, recorder, recordings, controls. What it shows is worked out anew in `show`. */

import * as api from "./api.js"
import * as chooser from "./chooser.js"
import * as company from "./company.js"
import * as controls from "./controls.js"
import * as downloads from "./downloads.js"
import * as keys from "./keys.js"
import * as looks from "./looks.js"
import {Library} from "./library.js"
import {Link} from "./link.js"
import {permitted} from "./microphone.js"
import {Opened} from "./opened.js"
import * as people from "./people.js"
import * as playbar from "./playbar.js"
import {Player} from "./player.js"
import {Playhead} from "./playhead.js"
import {Recorder} from "./recorder.js"
import * as say from "./sentences.js"
import * as shelf from "./shelf.js"
import * as transcript from "./transcript.js"
import {Uploads} from "./uploads.js"

const SUMMARY_EVERY = 10_000 // ms between readings aloud of who sounds how
const OPEN_AGAIN = 3_000 // ms until a session that could not be opened is asked for again

const root = document.documentElement
const link = new Link()
const recorder = new Recorder()
const uploads = new Uploads()
const library = new Library()
const opened = new Opened()
const player = new Player()
const playhead = new Playhead(seek)
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
    const created = await opening()
    mine = {session: created.id, recorderKey: created.recorder_key, viewerKey: created.viewer_key, codec}
    keys.keep(mine)
    company.leave()
    openSession()
  }
  return address()
}

/** All that is said of the next recording. */
const declaration = () => ({...controls.declaration(), voices: company.chosen()})

/** A new session. @throws {Error} whose message is for the reader */
async function opening() {
  try {
    return await api.open(declaration())
  } catch (error) {
    if (error.code === "api_key") controls.askForApiKey()
    const {gone, shut} = company.chosen().length && error.status ? await company.look() : {gone: [], shut: []}
    if (gone.length) throw new Error(say.voicesGone(gone))
    throw new Error(shut.length ? say.voicesShut(shut) : say.notOpened(error))
  }
}

/** Show what the address now asks for; everything else, uploads above all, goes on. */
function arrive() {
  if (recorder.state !== "idle") return location.reload()
  const next = keys.addressed()
  if (next?.session === mine?.session) return undefined
  mine = next
  opened.close()
  looks.close()
  player.close()
  session = {state: mine ? "loading" : "ready"}
  cards = []
  trouble = ""
  transcript.draw([])
  document.getElementById("turn").textContent = ""
  if (mine) openSession()
  else {
    clearTimeout(reopening)
    ask("leave")
  }
  drawPeople()
  show()
  document.getElementById(mine ? "opened" : "shelf").focus()
  return scrollTo(0, 0)
}

function travel(address) {
  history.pushState(null, "", address)
  arrive()
}

/** Go to an instant of the sound, where there is any. */
function seek(seconds) {
  player.seek(seconds)
  playhead.reveal()
}

function press() {
  if (opened.job) return player.toggle()
  if (recorder.active) return recorder.state === "asking" ? undefined : recorder.stop()
  if (document.getElementById("record").disabled) return undefined
  const codec = mine?.codec ?? controls.codec()
  return recorder.start(codec, () => sessionToRecord(codec))
}

async function download() {
  const answer = await ask("download")
  if (!answer) return
  downloads.save(new Blob([answer.text], {type: "application/json"}), answer.filename)
}

function offerDownloads() {
  const {session: id, recorderKey, viewerKey} = mine
  const what = {id, key: recorderKey ?? viewerKey, name: opened.job.name}
  downloads.offer(document.getElementById("downloads"), what, (sentence) => {
    trouble = sentence
    show()
  })
}

let stepped = null // where the last step has led
async function step(by) {
  // What has been played since the last step is gone on from.
  const moved = player.available && Math.abs(player.time - (stepped ?? 0)) > 0.3
  const answer = await ask("step", {by, ...(moved && {at: player.time})})
  if (!answer) return
  document.getElementById("turn").textContent = answer.text
  if (typeof answer.start !== "number") return
  stepped = answer.start
  player.seek(answer.start)
}

/** Another viewer link in the place of the one that was given out. */
async function renew() {
  try {
    const {viewer_key: viewerKey} = await api.renewViewerKey(mine)
    mine = {...mine, viewerKey}
    keys.readdress(mine)
    trouble = ""
  } catch (error) {
    trouble = say.refused(error)
  }
  show()
}

/** Ask something of the recording that is shown; whether it came to pass. */
async function askOpened(what) {
  try {
    await opened.ask(what)
    trouble = ""
  } catch (error) {
    trouble = error.message
  }
  show()
  return !trouble
}

async function erase() {
  if (!opened.job) {
    try {
      await api.eraseSession(mine.session, mine.recorderKey)
    } catch (error) {
      if (error.status !== 404) {
        trouble = say.notErased(error)
        return show()
      }
    }
    return ask("erase") // this page's own memory of it
  }
  if (!(await askOpened("erase"))) return undefined
  keys.forget(mine.session)
  return player.close()
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
  if (!mine) return missing()
  if (mine.codec === "webm") return "A low-bandwidth recording cannot be continued after an interruption."
  return ""
}

function notice() {
  if (!link.up && session.state !== "loading") return `${say.NO_LINK} (attempt ${link.attempt}).`
  if (session.state === "loading" && opened.state === "asking") return ""
  const {state: told} = opened.with(session)
  if (told === "away") return say.API_AWAY
  if (say.refusal(told, opened.state === "erased")) return say.refusal(told, opened.state === "erased")
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
  return opened.with(session).state
}

function empty() {
  if (recorder.active) return say.LISTENING
  if (opened.job && !session.role) return say.untilHeard(opened.job)
  if (session.state === "loading") return say.LOADING
  if (!mine) return say.BEFORE
  return session.stopped ? say.NOBODY : say.NOT_YET
}

function drawPeople() {
  people.draw(cards, session.selected, session.role === "recorder" && Boolean(mine?.recorderKey))
}

/** What keeps anything from being recorded or uploaded. */
const missing = () => say.missing(controls.declaration(), controls.lacksApiKey())

const choosing = {
  declaration,
  missing,
  send(files, said) {
    uploads.add(files, said)
    controls.declareAnew()
    company.leave()
    show()
    document.getElementById("shelf").scrollIntoView({block: "nearest"})
  },
}

function show() {
  const seen = opened.with(session)
  const job = opened.state === "erased" ? null : opened.job
  const uploaded = Boolean(opened.job || mine?.uploaded) && !["unknown", "denied"].includes(seen.state)
  Object.assign(root.dataset, {
    state: state(),
    phase: mine ? "session" : "setup",
    role: seen.role ?? "none",
    recorder: recorder.state,
    recording: job?.state ?? "none",
    speakers: cards.length,
    readings: session.readings ?? 0,
  })
  library.watch(!mine)
  controls.showNotice(notice(), ["erased", "ready", "away"].includes(seen.state) || notice() === session.warning)
  controls.showEmpty(empty())
  controls.showHeader(seen, state(), {job, viewerKey: mine?.viewerKey, recorderKey: mine?.recorderKey})
  controls.showRecorder({recorder, session, mine, obstacle: obstacle()})
  controls.showOpened(job, uploaded, Boolean(mine?.recorderKey), player.available)
  controls.showFacts(seen, job)
  controls.showView(session)
  chooser.show(choosing)
}

link.addEventListener("up", () => {
  dress()
  openSession()
  session = mine ? {...session, state: "loading"} : {state: "ready"}
  playhead.join()
  show()
})
link.addEventListener("down", show)
link.addEventListener("session", ({detail}) => {
  // A new document knows nothing of the session until it has been opened, and may still tell of the one before.
  if (mine ? detail.state === "ready" || (detail.id && detail.id !== mine.session) : detail.id) return
  session = detail
  // What is over, or is not there yet, may be a recording that was uploaded.
  const over = ["ended", "unknown"].includes(session.state)
  if (over && recorder.state === "idle" && opened.state === "unasked") opened.look(mine)
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
  if (!mine) return
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

opened.addEventListener("change", () => {
  const {job} = opened
  if (job?.state === "done") {
    const {id, file, bytes, seconds = 0} = job
    player.open({id, file, bytes, seconds, key: mine.recorderKey ?? mine.viewerKey, kept: job.keep_audio && job.audio})
    if (session.state === "unknown") openSession()
  }
  show()
})
player.addEventListener("tick", () => playhead.show(player.available ? player.time : null, player.seconds))
uploads.addEventListener("taken", ({detail}) => library.take(detail))
recorder.addEventListener("change", show)
recorder.addEventListener("level", () => controls.showLevel(recorder.level))
addEventListener("online", () => {
  link.hurry()
  recorder.hurry()
  uploads.hurry()
  library.refresh()
})
addEventListener("beforeunload", (event) => {
  if (recorder.active || recorder.unsent || uploads.active) event.preventDefault()
})
addEventListener("popstate", arrive)

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
  renew,
  finish: () => recorder.finish(mine.codec, address()),
  downloads: offerDownloads,
  opened: askOpened,
  back: () => travel("./"),
  erasing: () => (opened.job ? say.eraseRecording(opened.job.name) : say.ERASE_SESSION),
  erase,
  view: (mode) => link.ask("view", {mode}),
})
shelf.wire({library, uploads, open: travel})
downloads.wire()
company.wire(() => {
  if (controls.lacksApiKey()) controls.askForApiKey()
  return !controls.lacksApiKey()
})
looks.wire(() => ({...mine, recording: Boolean(opened.job)}))
playbar.wire(player, {seek})
transcript.wire(seek)
chooser.wire(choosing)
show()
link.start().catch((error) => {
  console.error(error)
  session = {state: "ready"}
  link.retry()
})
