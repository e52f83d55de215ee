/** The page's own elements: what they ask for, and what they show. */

import {clock, write} from "./elements.js"
import * as keys from "./keys.js"
import {webmSupported} from "./microphone.js"
import * as say from "./sentences.js"

const $ = (id) => document.getElementById(id)

const STATES = {
  loading: "Loading", ready: "Ready", waiting: "Waiting", live: "Live", ended: "Ended", reconnecting: "Reconnecting…",
  denied: "Not shown", unknown: "Not found", erased: "Erased",
  queued: "Waiting", hearing: "Being heard", failed: "Could not be heard", cancelled: "Cancelled", away: "No answer",
}

/** Purpose, consent and name as declared so far, and how many people will talk. */
export const declaration = () => ({
  purpose: $("purpose").value, remark: $("remark").value.trim(), name: $("name").value,
  consent: $("agreed").checked, consent_version: $("agreed").dataset.version,
  people: Number($("talkers").value) || null,
})

/** Whether the server asks for an API key, and there is none. */
export const lacksApiKey = () => !$("api-key-row").hidden && !keys.apiKey()

/** The server has asked for one, or does not know the one that there was. */
export function askForApiKey() {
  $("api-key-row").hidden = false
  $("api-key").focus()
}

export const codec = () => document.querySelector("[name=codec]:checked").value

/** Join controls to what they do. */
export function wire(act) {
  $("record").onclick = act.press
  $("finish").onclick = act.finish
  $("download").onclick = act.download
  $("setup").oninput = ({target}) => {
    act.changed()
    // The hint promises that the space key now records; on the box it would take the consent back.
    const next = $("send").hidden ? $("record") : $("send")
    if (target === $("agreed") && !next.disabled) next.focus()
  }
  $("setup").onsubmit = (event) => event.preventDefault()
  $("api-key-row").hidden = document.documentElement.dataset.apiKeys !== "yes"
  $("api-key").value = keys.apiKey()
  $("api-key").oninput = () => keys.keepApiKey($("api-key").value.trim())
  $("copy").onclick = copyLink
  $("renew").onclick = async () => await confirmed(say.RENEW) && act.renew()
  $("theme").onclick = () => { switchTheme(); act.dress() }
  $("about-open").onclick = () => $("about").showModal()
  $("erase").onclick = async () => await confirmed(act.erasing()) && act.erase()
  $("downloads").onclick = act.downloads
  $("again").onclick = () => act.opened("retry")
  $("cancel").onclick = () => act.opened("cancel")
  $("back").onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    act.back()
  }
  for (const button of document.querySelectorAll("[data-view]")) button.onclick = () => act.view(button.dataset.view)
  document.querySelector("[value=webm]").disabled = !webmSupported()
  addEventListener("keydown", (event) => press(event, act))
  let timer
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(act.dress, 300) })
  showTheme()
}

/** Ask before what cannot be undone. */
export function confirmed({title, text, no, yes}) {
  const dialog = $("erase-dialog")
  write($("erase-title"), title)
  write($("erase-text"), text)
  write($("erase-no"), no)
  write($("erase-yes"), yes)
  dialog.returnValue = ""
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "erase")
  })
}

/** The next recording has other people in it, who have yet to agree, and another name. */
export function declareAnew() {
  $("agreed").checked = false
  $("name").value = ""
}

function press(event, act) {
  const busy = event.target.closest("input, select, textarea, dialog, [popover], [contenteditable]")
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

export function showHeader(session, state, {job, viewerKey, recorderKey}) {
  write($("title"), session.name ?? "")
  const time = ["live", "waiting", "ended"].includes(state) && session.heardUntil ? ` ${clock(session.heardUntil)}` : ""
  const far = state === "hearing" ? ` ${Math.floor(100 * job.progress)} %` : ""
  write($("state-text"), (state === "ended" && job ? "Done" : STATES[state]) + time + far)
  const behind = state === "live" ? session.behind : null
  $("behind").hidden = typeof behind !== "number"
  if (typeof behind === "number") $("behind").textContent = `${behind.toFixed(1)} s behind`
  const shown = Boolean(session.role) && session.state !== "erased"
  $("copy").hidden = !shown || !viewerKey
  $("renew").hidden = !shown || !recorderKey
  $("download").hidden = !shown || Boolean(job)
  $("downloads").hidden = !shown || job?.state !== "done"
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

/** The card that stands in the recorder's place while a recording is shown. */
export function showOpened(job, uploaded, owned, playable) {
  $("recorder").hidden = uploaded
  $("opened").hidden = !uploaded
  write($("back"), owned ? "← All recordings" : "← Record or upload your own")
  write($("opened-name"), job?.name ?? "")
  const at = job ? new Date(job.created_at * 1000).toLocaleString([], {dateStyle: "medium", timeStyle: "short"}) : ""
  const facts = job ? [job.seconds ? clock(job.seconds) : "", `uploaded ${at}`] : []
  write($("opened-facts"), facts.filter(Boolean).join(" · "))
  write($("opened-warning"), job?.warning ?? "")
  $("opened-warning").hidden = !job?.warning
  const hearing = job?.state === "running"
  $("heard").hidden = !hearing
  if (hearing) $("heard").value = job.progress
  write($("heard-step"), hearing ? say.step(job) : "")
  $("heard-step").hidden = !hearing
  $("again").hidden = !(owned && job?.retryable)
  $("cancel").hidden = !(owned && ["queued", "running"].includes(job?.state))
  write($("space-does"), uploaded ? "plays and pauses" : "records and stops")
  $("space").hidden = uploaded && !playable
}

export function showLevel(level, meter = $("meter")) {
  // Speech lies some 10 to 50 dB below full scale; the meter shows that range.
  const share = level > 0 ? Math.max(0, Math.min(1, (20 * Math.log10(level) + 60) / 50)) : 0
  meter.firstChild.style.transform = `scaleX(${share.toFixed(3)})`
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)))
}

export function showFacts(session, job) {
  const known = Boolean(session.purpose) && session.state !== "erased"
  const elsewhere = session.diariser === "google" ? $("elsewhere").textContent : ""
  $("elsewhere").hidden = !elsewhere
  write($("remark-need"), $("purpose").value === "other" ? "needed" : "if you like")
  $("setup").hidden = session.state !== "ready"
  $("consent").hidden = !known && session.state !== "ready"
  $("facts").hidden = !known
  $("erase").hidden = $("looks").hidden = session.role !== "recorder"
  if (!known) return
  const at = new Date(session.agreedAt * 1000)
  const today = at.toDateString() === new Date().toDateString()
  const when = at.toLocaleString([], {...(today ? {} : {dateStyle: "medium"}), timeStyle: "short"})
  const purpose = session.purpose.charAt(0).toUpperCase() + session.purpose.slice(1)
  const why = session.remark ? `${purpose}: ${session.remark}` : purpose
  const wording = session.wording ? ` (wording ${session.wording})` : ""
  const left = typeof session.expiresIn === "number" ? say.duration(session.expiresIn) : ""
  const live = `The sound is erased when the recording is finished, at the latest ten minutes after the recorder has gone`
  const fate = job ? `${say.fate(job)}${left && ` Everything is erased in ${left}.`}` : `${live}; results in ${left}.`
  const agreed = `${why} · everyone agreed ${today ? "at" : "on"} ${when}${wording}.`
  write($("facts-text"), [agreed, fate, elsewhere].filter(Boolean).join(" "))
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
