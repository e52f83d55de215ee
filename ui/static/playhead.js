/**
 * The line in the plots that moves with the sound. It lies above them, so that moving it draws nothing anew, and takes
 * its place from their common axis. Whoever looks closer is taken along; whoever looks elsewhere is left in peace.
 */

const PLOTS = ["ribbons", "probabilities"]
const STILL = 5 // pixels that a press may move and still be a click, not a drag
const AHEAD = 0.92, BEHIND = 0.08 // shares of the window: where it is turned over, and where the head then stands

export class Playhead {
  time = null
  seconds = 0 // of the whole
  seen = false // it was in sight when last drawn

  /** @param {(seconds: number) => void} seek is told of clicks */
  constructor(seek) {
    this.lines = PLOTS.map((name) => {
      const place = document.querySelector(`[data-plot="${name}"]`)
      const line = Object.assign(document.createElement("i"), {className: "playhead", ariaHidden: "true", hidden: true})
      let pressed = [0, 0]
      place.addEventListener("pointerdown", ({clientX, clientY}) => { pressed = [clientX, clientY] })
      place.addEventListener("click", ({clientX, clientY}) => {
        if (this.time === null || Math.hypot(clientX - pressed[0], clientY - pressed[1]) > STILL) return
        const seconds = this.secondsAt(name, clientX, clientY)
        if (seconds !== null) seek(seconds)
      })
      new ResizeObserver(() => this.draw()).observe(place)
      return {name, place, line}
    })
  }

  /** A new document's plots have come. */
  join() {
    this.range = this.view("ribbons")?.model.x_range
    this.range?.change.connect(() => requestAnimationFrame(() => this.draw()))
  }

  /** Stand at an instant of so many seconds, or nowhere (null). */
  show(time, seconds) {
    if (this.time === time && this.seconds === seconds) return
    Object.assign(this, {time, seconds})
    if (time !== null && this.seen && this.range && time > this.range.start + AHEAD * this.width) this.turn(time)
    this.draw()
  }

  /** Bring the head into sight. */
  reveal() {
    if (!this.range || this.time === null) return
    if (this.time < this.range.start || this.time > this.range.end) this.turn(this.time)
  }

  get width() {
    return this.range.end - this.range.start
  }

  turn(time) {
    const start = Math.max(0, Math.min(time - BEHIND * this.width, this.seconds - this.width))
    if (Math.abs(start - this.range.start) > 1e-3) this.range.setv({start, end: start + this.width})
  }

  draw() {
    this.seen = this.time !== null && this.range && this.time >= this.range.start && this.time <= this.range.end
    for (const {name, place, line} of this.lines) {
      if (line.parentNode !== place) place.append(line)
      const frame = this.seen ? this.frame(name) : null
      line.hidden = !frame
      if (!frame) continue
      const {x, top, left, bottom} = frame
      line.style.transform = `translateX(${(left + x.compute(this.time)).toFixed(1)}px)`
      line.style.top = `${top}px`
      line.style.height = `${bottom - top}px`
    }
  }

  view(name) {
    const model = Bokeh.documents[0]?.get_model_by_name(name)
    return model && Bokeh.index.get_by_id(model.id)
  }

  /** Where a plot's frame lies in its place, in pixels. */
  frame(name) {
    const view = this.view(name)
    const place = document.querySelector(`[data-plot="${name}"]`)
    if (!view?.frame?.bbox?.width || !place.offsetWidth) return null
    const canvas = view.canvas_view.el.getBoundingClientRect()
    const {left, top} = place.getBoundingClientRect()
    const {bbox, x_scale: x} = view.frame
    const down = canvas.top - top
    return {x, left: canvas.left - left, top: down + bbox.top, bottom: down + bbox.bottom, bbox, canvas}
  }

  secondsAt(name, clientX, clientY) {
    const frame = this.frame(name)
    if (!frame) return null
    const [x, y] = [clientX - frame.canvas.left, clientY - frame.canvas.top]
    const {left, right, top, bottom} = frame.bbox
    return x < left || x > right || y < top || y > bottom ? null : Math.max(0, frame.x.invert(x))
  }
}
