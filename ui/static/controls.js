/** The page's own elements: what they ask for, and what they show. */

import {clock, write} from "./elements.js"
import {webmSupported} from "./microphone.js"
import * as say from "./sentences.js"

const $ = (id) => document.getElementById(id)

const STATES = {
  loading: "Loading", ready: "Ready", waiting: "Waiting", live: "Live", ended: "Ended", reconnecting: "Reconnecting…",
  denied: "Not shown", unknown: "Not found", erased: "Erased",
}

/** Purpose, consent and name as declared so far, and how many people will talk. */
export const declaration = () => ({
  purpose: $("purpose").value, consent: $("agreed").checked, name: $("name").value, people: Number($("talkers").value) || null,
})

export const codec = () => document.querySelector("[name=codec]:checked").value

/** Join controls to what they do. */
export function wire(act) {
  $("record").onclick = act.press
  $("finish").onclick = act.finish
  $("download").onclick = act.download
  $("setup").oninput = ({target}) => {
    act.changed()
    // The hint promises that the space key now records; on the box it would take the consent back.
    if (target === $("agreed") && !$("record").disabled) $("record").focus()
  }
  $("setup").onsubmit = (event) => event.preventDefault()
  $("copy").onclick = copyLink
  $("theme").onclick = () => { switchTheme(); act.dress() }
  $("about-open").onclick = () => $("about").showModal()
  $("erase").onclick = () => { $("erase-dialog").returnValue = ""; $("erase-dialog").showModal() }
  $("erase-dialog").onclose = () => $("erase-dialog").returnValue === "erase" && act.erase()
  for (const button of document.querySelectorAll("[data-view]")) button.onclick = () => act.view(button.dataset.view)
  document.querySelector("[value=webm]").disabled = !webmSupported()
  addEventListener("keydown", (event) => press(event, act))
  let timer
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(act.dress, 300) })
  showTheme()
}

function press(event, act) {
  const busy = event.target.closest("input, select, textarea, dialog, [contenteditable]")
  if (busy || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.code === "Space" && !event.target.closest("button, a, summary, #lines")) {
    event.preventDefault()
    if (!event.repeat) act.press()
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    event.preventDefault()
    act.step(event.key === "ArrowRight" ? 1 : -1)
  }
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href)
    $("copy").textContent = "Copied"
    setTimeout(() => { $("copy").textContent = "Copy viewer link" }, 2_000)
  } catch {
    // On plain http from another machine there is no clipboard: show the link to be copied by hand.
    $("link").value = location.href
    $("link-dialog").showModal()
    $("link").select()
  }
}

function switchTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark"
  document.documentElement.dataset.theme = theme
  try {
    localStorage.setItem("tonetrack-theme", theme)
  } catch { /* the choice then lasts as long as the page */ }
  showTheme()
}

function showTheme() {
  $("theme").setAttribute("aria-pressed", String(document.documentElement.dataset.theme === "dark"))
}

export function showNotice(text, calm) {
  $("notice").classList.toggle("calm", calm)
  // A live region is read again whenever it is written, so write only what is new.
  if ($("notice").textContent !== text) $("notice").textContent = text
  $("notice").hidden = !text
}

export function showEmpty(text) {
  if ($("empty").textContent !== text) $("empty").textContent = text
}

export function showHeader(session, state, mine) {
  $("title").textContent = session.name ?? ""
  const time = ["live", "waiting", "ended"].includes(state) && session.heardUntil ? ` ${clock(session.heardUntil)}` : ""
  $("state-text").textContent = STATES[state] + time
  const behind = state === "live" ? session.behind : null
  $("behind").hidden = typeof behind !== "number"
  if (typeof behind === "number") $("behind").textContent = `${behind.toFixed(1)} s behind`
  const shown = Boolean(session.role) && session.state !== "erased"
  $("copy").hidden = !shown
  $("download").hidden = !shown
  document.title = session.name ? `${session.name} – ToneTrack` : "ToneTrack"
}

export function showRecorder({recorder, session, mine, obstacle}) {
  const lost = ["erased", "unknown", "denied"].includes(session.state)
  const over = lost || session.stopped || recorder.state === "stopped"
  const watching = Boolean(mine) && (!mine.recorderKey || (session.role && session.role !== "recorder"))
  const taken = recorder.state === "failed" && recorder.detail.code === 4409
  const idle = !recorder.active
  const [status, hint, label] = wording({recorder, lost, over, watching: watching || taken, mine, obstacle})
  if ($("record-status").textContent !== status) $("record-status").textContent = status
  $("record-hint").textContent = hint
  $("record-label").textContent = label
  $("record").title = label
  const recording = ["recording", "reconnecting"].includes(recorder.state)
  $("record").disabled = idle && (over || watching || taken || Boolean(obstacle))
  $("finish").hidden = !(idle && mine && session.role === "recorder" && !over && !taken)
  $("anew").hidden = !(idle && (over || taken))
  $("quality").hidden = Boolean(mine) || !idle
  $("meter").hidden = !recording
  if (!recording) showLevel(0)
}

function wording({recorder, lost, over, watching, mine, obstacle}) {
  const quality = (mine?.codec ?? codec()) === "webm" ? "low bandwidth" : "uncompressed"
  const source = `${recorder.microphone?.name ?? "Microphone"} · ${quality}`
  switch (recorder.state) {
    case "asking":
      return ["Asking for the microphone", "Please allow it in the browser.", "Record"]
    case "recording":
      return ["Recording", source, "Stop recording"]
    case "reconnecting":
      return ["Recording, reconnecting", source, "Stop recording"]
    case "stopping":
      return ["Finishing", "The last words are being heard.", "Finishing"]
  }
  if (lost) return ["Nothing to show", "You can begin a recording of your own.", "Record"]
  if (over) return ["Recording is over", "", "Recording is over"]
  if (watching) return ["Watching", "You see what the recorder hears; nothing is heard here.", "Watching"]
  if (mine) return ["Not recording", obstacle || "Press to go on in the same session.", "Continue recording"]
  return ["Ready to record", obstacle || "Press record, or the space key, and speak.", "Record"]
}

export function showLevel(level) {
  // Speech lies some 10 to 50 dB below full scale; the meter shows that range.
  const share = level > 0 ? Math.max(0, Math.min(1, (20 * Math.log10(level) + 60) / 50)) : 0
  $("meter").firstChild.style.transform = `scaleX(${share.toFixed(3)})`
  $("meter").setAttribute("aria-valuenow", String(Math.round(share * 100)))
}

export function showFacts(session) {
  const known = Boolean(session.purpose) && session.state !== "erased"
  const elsewhere = session.diariser === "google" ? say.GOOGLE : ""
  write($("elsewhere"), elsewhere)
  $("elsewhere").hidden = !elsewhere
  $("setup").hidden = session.state !== "ready"
  $("consent").hidden = !known && session.state !== "ready"
  $("facts").hidden = !known
  $("erase").hidden = session.role !== "recorder"
  if (!known) return
  const at = new Date(session.agreedAt * 1000)
  const today = at.toDateString() === new Date().toDateString()
  const when = at.toLocaleString([], {...(today ? {} : {dateStyle: "medium"}), timeStyle: "short"})
  const purpose = session.purpose.charAt(0).toUpperCase() + session.purpose.slice(1)
  $("facts-text").textContent =
    `${purpose} · everyone agreed ${today ? "at" : "on"} ${when}. The sound is erased when the recording is finished, at ` +
    `the latest ten minutes after the recorder has gone; results in ${duration(session.expiresIn)}.` +
    (elsewhere && ` ${elsewhere}`)
}

function duration(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60))
  const hours = Math.floor(minutes / 60)
  if (hours >= 48) return `${Math.round(hours / 24)} days`
  const parts = [hours && `${hours} h`, minutes % 60 && `${minutes % 60} min`]
  return parts.filter(Boolean).join(" ")
}

export function showView(session) {
  const {view, state} = session
  // After the end there is nothing to follow; what remains is the way back from a closer look.
  $("view").hidden = !session.role || (state === "ended" && view === "all")
  for (const button of document.querySelectorAll("[data-view]")) {
    button.hidden = state === "ended" && button.dataset.view === "follow"
    button.setAttribute("aria-pressed", String(button.dataset.view === view))
  }
}
