/** What was said: the newest lines, as text. Lines stay the same elements, so that a selection lasts. */

import {clock, element, make, write} from "./elements.js"

let seek = () => {}
const items = new Map() // by turn, or by time where a word belongs to none
const NEAR_END = 12 // pixels from the newest line within which the list goes on to follow it

const keyOf = ({turn, start}) => turn ?? `at ${start}`

/** @param {(seconds: number) => void} toInstant is told of lines that are clicked */
export function wire(toInstant) {
  seek = toInstant
}

export function draw(lines) {
  const list = element("lines")
  element("said").hidden = !lines.length
  const follows = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END
  const wanted = new Set(lines.map(keyOf))
  for (const [key, item] of items) {
    if (wanted.has(key)) continue
    item.remove()
    items.delete(key)
  }
  lines.forEach((line, index) => {
    const key = keyOf(line)
    if (!items.has(key)) items.set(key, make("li", {}, make("small"), make("b"), make("span")))
    const item = items.get(key)
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null)
    item.onclick = () => getSelection().isCollapsed && seek(line.start)
    const [when, who, text] = item.children
    write(when, clock(line.start))
    write(who, line.name)
    write(text, line.text)
  })
  if (follows) list.scrollTop = list.scrollHeight
}
