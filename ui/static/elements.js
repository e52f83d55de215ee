/** Small helpers of everything that draws. */

export const element = (id) => document.getElementById(id)

export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties)
  node.append(...children)
  return node
}

/** Write only what is new: a live region is read again whenever it is written, and a selection is lost. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/** m:ss, from an hour on h:mm:ss */
export function clock(seconds) {
  const whole = Math.floor(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  const two = (number) => String(number).padStart(2, "0")
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`
}
