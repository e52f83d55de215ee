/** The menu of what can be downloaded of a recording, the same for all of them. */

import * as api from "./api.js"
import {element as $} from "./elements.js"
import * as say from "./sentences.js"

const PATIENCE = 180_000 // ms: a report of hours takes a while
const GAP = 4 // pixels

let chosen = null // {id, key, name}, the button that asked, and who hears of trouble

/** Give a file to whoever looks at the page. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob)
  Object.assign(document.createElement("a"), {href: url, download: name}).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** Open the menu at a button. @param {(sentence: string) => void} tell is given what went wrong, or nothing */
export function offer(button, {id, key, name}, tell) {
  const menu = $("formats")
  if (menu.matches(":popover-open") && chosen?.button === button) return menu.hidePopover()
  chosen = {id, key, name, button, tell}
  menu.showPopover()
  const at = button.getBoundingClientRect()
  const left = Math.min(at.right - menu.offsetWidth, innerWidth - menu.offsetWidth - GAP)
  const below = at.bottom + GAP
  menu.style.left = `${Math.max(GAP, left)}px`
  menu.style.top = `${below + menu.offsetHeight > innerHeight ? Math.max(GAP, at.top - GAP - menu.offsetHeight) : below}px`
  menu.querySelector("button").focus()
}

/** Once, for the page. */
export function wire() {
  const menu = $("formats")
  for (const button of menu.querySelectorAll("button")) button.onclick = () => fetchFile(button.value)
  menu.onkeydown = (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
    if (!step) return
    event.preventDefault()
    const buttons = [...menu.querySelectorAll("button")]
    buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus()
  }
  menu.onbeforetoggle = ({newState}) => {
    // A menu that is clicked away leaves the focus where the click put it; one that is used, or escaped, gives it back.
    if (newState === "closed" && menu.contains(document.activeElement)) chosen?.button.focus()
  }
  addEventListener("scroll", () => menu.matches(":popover-open") && menu.hidePopover(), {passive: true})
}

async function fetchFile(what) {
  const {id, key, name, button, tell} = chosen
  $("formats").hidePopover()
  tell("")
  button.setAttribute("aria-busy", "true")
  try {
    const blob = await api.file(id, what, key, undefined, AbortSignal.timeout(PATIENCE))
    save(blob, `${plain(name) || "recording"}.${what.split(".").slice(1).join(".")}`)
  } catch (error) {
    tell(say.refused(error))
  }
  button.removeAttribute("aria-busy")
}

/** A name without the end that says what the sound was, and without what no file system takes. */
const plain = (name) => name.replace(/\.[A-Za-z0-9]{1,5}$/, "").replace(/[\\/:*?"<>|\p{C}\s]+/gu, " ").trim().slice(0, 80)
