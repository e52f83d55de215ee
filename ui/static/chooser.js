/** The second door: files are dropped or chosen here, wait until all is said that must be, and are then sent. */

import {element as $, make, write} from "./elements.js"
import * as say from "./sentences.js"

let held = [] // files that are chosen and not sent
let wrong = "" // about what was dropped last

/** What is said of the files, besides the form. */
const options = () => ({keep_audio: $("keep-audio").checked, channels: $("each-channel").checked ? "speakers" : "mix"})

/** Whether files wait to be sent. */
export const holding = () => held.length > 0

/**
 * @param {{declaration: () => object, missing: () => string, send: (files: File[], said: object) => void}} act
 *   `declaration` is what the form says, and `missing` what it does not say yet
 */
export function wire(act) {
  const card = $("upload")
  const take = (files) => { held = [...held, ...files]; show(act) }
  $("files").onchange = () => {
    wrong = ""
    take($("files").files)
    $("files").value = "" // so that the same file can be chosen again
    if (!$("send").disabled) $("send").focus()
  }
  $("send").onclick = () => {
    const said = declared(act.declaration(), held)
    const files = held
    held = []
    act.send(files, said)
    show(act)
  }
  $("keep-audio").onchange = $("each-channel").onchange = () => show(act)
  // A file that misses the card must not take the place of the page.
  for (const event of ["dragover", "drop"]) addEventListener(event, (drag) => carriesFiles(drag) && drag.preventDefault())
  let depth = 0
  const over = (by) => { depth = by ? Math.max(0, depth + by) : 0; card.classList.toggle("over", depth > 0) }
  card.ondragenter = (drag) => carriesFiles(drag) && over(1)
  card.ondragleave = (drag) => carriesFiles(drag) && over(-1)
  card.ondrop = (drag) => {
    over(0)
    if (!carriesFiles(drag)) return
    const entries = [...drag.dataTransfer.items].map((item) => item.webkitGetAsEntry?.())
    const files = [...drag.dataTransfer.files].filter((_, index) => !entries[index]?.isDirectory)
    wrong = files.length < drag.dataTransfer.files.length ? say.NO_FOLDERS : ""
    take(files)
  }
  show(act)
}

const carriesFiles = ({dataTransfer}) => [...(dataTransfer?.types ?? [])].includes("Files")

function declared({people, name, voices, ...said}, files) {
  const {keep_audio: keep, channels} = options()
  const counted = channels === "mix" ? people : null // each channel is one person: nobody has to be told apart
  return {
    ...said, name: files.length === 1 ? name.trim() : "", min_speakers: counted, max_speakers: counted, channels,
    keep_audio: keep, voices: voices.length ? JSON.stringify(voices) : "",
  }
}

/** Show what is held, and what stands in its way. */
export function show(act) {
  const items = held.map((file) => {
    const remove = make("button", {type: "button", className: "link", textContent: "Remove"})
    remove.setAttribute("aria-label", `Remove ${file.name}`)
    remove.onclick = () => {
      held = held.filter((other) => other !== file)
      show(act)
      $("files").focus()
    }
    const name = make("span", {textContent: file.name, title: file.name})
    return make("li", {}, name, make("small", {textContent: say.size(file.size)}), remove)
  })
  if (held.length || $("held").children.length) $("held").replaceChildren(...items)
  const obstacle = act.missing()
  $("send").hidden = !held.length
  $("send").disabled = Boolean(obstacle)
  write($("send"), held.length > 1 ? `Upload ${held.length} recordings` : "Upload")
  write($("files-label"), held.length ? "Choose more …" : "Choose files …")
  write($("upload-hint"), wrong || (held.length ? obstacle : ""))
  $("upload-hint").hidden = !$("upload-hint").textContent
  write($("fate"), $("keep-audio").checked ? say.KEPT : say.ERASED_ONCE_HEARD)
}
