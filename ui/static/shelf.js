/** The card of uploads and recordings. Rows stay the same elements, so that the focus stays where it is. */

import {confirmed} from "./controls.js"
import {offer} from "./downloads.js"
import {clock, element as $, make, write} from "./elements.js"
import * as keys from "./keys.js"
import {going} from "./library.js"
import * as say from "./sentences.js"

const rows = new Map() // by id
let parts = null // library, uploads, and open(id), which shows a recording

export function wire(given) {
  parts = given
  const {library, uploads} = given
  $("older").onclick = () => library.more().catch((error) => tell(say.refused(error)))
  $("forget").onclick = async () => {
    if (!(await confirmed(say.FORGET))) return
    library.forget()
    $("files").focus()
  }
  library.addEventListener("change", draw)
  uploads.addEventListener("change", draw)
  library.addEventListener("over", ({detail}) => write($("shelf-told"), `${detail.name}: ${say.standing(detail)}.`))
  draw()
}

/** What went wrong with what was asked for last. */
function tell(sentence) {
  write($("shelf-wrong"), sentence)
  $("shelf-wrong").hidden = !sentence
}

function draw() {
  const {library, uploads} = parts
  const items = [
    ...uploads.items.map((item) => ({id: item.id, item})).reverse(),
    ...(library.jobs.map((job) => ({id: job.id, job}))),
  ]
  Object.assign(document.documentElement.dataset, {recordings: library.jobs.length, uploads: uploads.items.length})
  const list = $("recordings")
  for (const [id, row] of rows) {
    if (items.some((item) => item.id === id)) continue
    if (row.contains(document.activeElement)) $("shelf").focus()
    row.remove()
    rows.delete(id)
  }
  items.forEach(({id, item, job}, index) => {
    if (!rows.has(id)) rows.set(id, item ? uploadRow() : recordingRow())
    const row = rows.get(id)
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null)
    if (item) fillUpload(row, item)
    else fillRecording(row, job)
  })
  // An upload that has no answer either says so in its own row.
  write($("shelf-trouble"), uploads.items.some(({state}) => state === "retrying") ? "" : library.trouble)
  $("shelf-trouble").hidden = !$("shelf-trouble").textContent
  $("older").hidden = !library.next
  $("shelf-key").hidden = !library.jobs.length
  $("shelf").hidden = !items.length && !library.trouble
  if ($("shelf").hidden) tell("")
}

function blank(name, tools) {
  const [facts, detail] = [make("small"), make("small")]
  const standing = make("span", {className: "standing"})
  const bar = make("progress", {max: 1})
  const row = make("li", {},
    make("div", {className: "what"}, name, facts),
    make("div", {className: "far"}, standing, bar, detail),
    make("div", {className: "buttons"}, ...Object.values(tools)))
  return Object.assign(row, {name, facts, standing, bar, detail, tools})
}

const tool = (textContent, className = "") => make("button", {type: "button", textContent, className})

function fill(row, {state, name, facts, standing, detail, share}, tools) {
  row.dataset.state = state
  write(row.name, name)
  row.name.title = name
  write(row.facts, facts)
  write(row.standing, standing)
  write(row.detail, detail)
  row.detail.hidden = !detail
  row.bar.hidden = share === undefined
  if (share === null) row.bar.removeAttribute("value")
  else if (share !== undefined) row.bar.value = share
  row.bar.setAttribute("aria-label", `Progress of ${name}`)
  for (const [key, button] of Object.entries(row.tools)) {
    const shown = tools.includes(key)
    if (!shown && document.activeElement === button) $("shelf").focus()
    button.hidden = !shown
    button.setAttribute("aria-label", `${button.textContent}: ${name}`)
  }
}

function uploadRow() {
  const row = blank(make("b"), {again: tool("Try again"), stop: tool("Stop"), dismiss: tool("Dismiss")})
  row.tools.again.onclick = () => parts.uploads.again(row.item)
  row.tools.stop.onclick = row.tools.dismiss.onclick = () => parts.uploads.abort(row.item)
  return row
}

function fillUpload(row, item) {
  const {state, name, size, sent, message} = item
  row.item = item
  const share = {sending: size ? sent / size : 0, checking: null}[state]
  const tools = state === "refused" ? ["dismiss"] : state === "stuck" ? ["again", "dismiss"] : ["stop"]
  fill(row, {state, name, facts: say.size(size), standing: say.uploading(item), detail: message, share}, tools)
}

function recordingRow() {
  const row = blank(make("a"), {
    retry: tool("Send again"), cancel: tool("Cancel"), download: tool("Download", "menu"), erase: tool("Erase"),
  })
  const attempt = async (what) => {
    tell("")
    try {
      await what(row.job)
    } catch (error) {
      tell(error.message)
    }
  }
  const {library} = parts
  row.name.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return // in a tab or window of its own
    event.preventDefault()
    parts.open(row.name.href)
  }
  row.tools.retry.onclick = () => attempt((job) => library.retry(job))
  row.tools.cancel.onclick = () => attempt((job) => library.cancel(job))
  row.tools.download.onclick = () => offer(row.tools.download, {...row.job, key: row.job.owner}, tell)
  row.tools.erase.onclick = async () => {
    if (await confirmed(say.eraseRecording(row.job.name))) attempt((job) => library.erase(job))
  }
  return row
}

function fillRecording(row, job) {
  row.job = job
  const {id, state, seconds, expires_in: left, seenAt, progress, error, warning, retryable, audio, keep_audio: keep} = job
  const href = keys.link(id, keys.viewer(id))
  if (row.name.getAttribute("href") !== href) row.name.setAttribute("href", href)
  const facts = [
    seconds ? clock(seconds) : "",
    state === "done" && keep && audio ? "sound kept" : "",
    typeof left === "number" ? `erased in ${say.duration(left - (Date.now() - seenAt) / 1_000)}` : "",
  ]
  const can = {cancel: going(job), retry: retryable, download: state === "done", erase: true}
  const tools = Object.keys(can).filter((what) => can[what])
  const share = {running: progress}[state]
  const standing = say.standing(job)
  const detail = error ?? warning ?? (state === "running" ? say.step(job) : "")
  fill(row, {state, name: job.name, facts: facts.filter(Boolean).join(" · "), standing, detail, share}, tools)
}
