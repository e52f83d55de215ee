/**
 * The page's line to its Bokeh document. When it is lost, a fresh document is fetched and put in the old one's place,
 * without reloading the page: a recording goes on, and the session is opened again where it was.
 */

const FIRST_DELAY = 500
const LONGEST_DELAY = 5_000
const LOST = "The page has no connection to ToneTrack at the moment. Please try again."

export class Link extends EventTarget {
  number = 0
  up = false
  attempt = 0

  /** Dispatches `up`, `down`, and one event a bridge property with its value: session, people, said, summary, reply. */
  async start() {
    await this.embed(JSON.parse(document.getElementById("document").textContent))
  }

  /** Ask the document for something; lost while the line is down. */
  ask(name, fields = {}) {
    if (!this.up) return
    this.number += 1
    this.bridge.command = JSON.stringify({...fields, n: this.number, ask: name})
  }

  /** Ask, and wait for the one answer. */
  request(name, fields = {}) {
    if (!this.up) return Promise.reject(new Error(LOST))
    this.ask(name, fields)
    const expected = this.number
    return new Promise((resolve, reject) => {
      const settled = new AbortController()
      this.addEventListener("reply", ({detail}) => {
        if (detail.n !== expected) return
        settled.abort()
        if (detail.name === "trouble") reject(new Error(detail.message))
        else resolve(detail)
      }, {signal: settled.signal})
      this.addEventListener("down", () => {
        settled.abort()
        reject(new Error(LOST))
      }, {signal: settled.signal})
    })
  }

  async embed({token, roots}) {
    const targets = {}
    for (const [name, id] of Object.entries(roots)) {
      const place = document.querySelector(`[data-plot="${name}"]`)
      const target = document.createElement("div")
      target.id = crypto.randomUUID?.() ?? `plot-${id}-${Date.now()}`
      place.replaceChildren(target)
      targets[id] = target.id
    }
    const [views] = await Bokeh.embed.embed_items({}, [{token, roots: targets, root_ids: Object.values(roots)}])
    if (!views) throw new Error("the document's WebSocket did not open")
    this.adopt(Bokeh.documents.at(-1))
  }

  adopt(bokeh) {
    this.bridge = bokeh.get_model_by_name("bridge")
    bokeh.on_event("connection_lost", () => this.lost())
    this.up = true
    this.attempt = 0
    const {properties} = this.bridge
    for (const name of ["session", "people", "said", "summary", "reply"]) {
      properties[name].change.connect(() => this.tell(name))
    }
    this.dispatchEvent(new Event("up"))
  }

  tell(name) {
    const text = this.bridge[name]
    if (!text) return
    const detail = name === "summary" ? text : JSON.parse(text)
    this.dispatchEvent(new CustomEvent(name, {detail}))
  }

  lost() {
    if (!this.up) return
    this.up = false
    this.dispatchEvent(new Event("down"))
    this.retry()
  }

  retry() {
    const delay = Math.min(FIRST_DELAY * 2 ** this.attempt, LONGEST_DELAY)
    this.attempt += 1
    this.timer = setTimeout(() => this.renew(), delay)
    this.dispatchEvent(new Event("down"))
  }

  /** The network may be back: do not wait. */
  hurry() {
    if (this.up || !this.timer) return
    clearTimeout(this.timer)
    this.renew()
  }

  async renew() {
    this.timer = null
    try {
      const answer = await fetch(location.pathname + location.search, {cache: "no-store"})
      if (!answer.ok) throw new Error(`the page answered ${answer.status}`)
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html")
      const item = JSON.parse(fresh.getElementById("document").textContent)
      // Documents that have lost their server are of no use; let their plots go before the new ones come.
      for (const bokeh of Bokeh.documents.splice(0)) bokeh.clear()
      await this.embed(item)
    } catch (error) {
      console.warn(`ToneTrack: ${error.message}`)
      this.retry()
    }
  }
}
