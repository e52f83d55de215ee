/** The recordings that were uploaded from this browser: what the service says of them, and what can be done to them. */

import * as api from "./api.js"
import * as keys from "./keys.js"
import * as say from "./sentences.js"

const LOOK_EVERY = 1_000 // ms, while something is going on
const LONGEST_DELAY = 15_000 // ms between two looks when there is no answer

export const going = ({state}) => state === "queued" || state === "running"

export class Library extends EventTarget {
  jobs = [] // newest first; `seenAt` is when the service said so, `owner` the key that it is under
  trouble = "" // why the list may not be true any more
  lists = new Map() // by key: the cursor of what is older, and whether some of that is here
  watching = false
  failures = 0

  /** Dispatches `change`, and `over` with a job that has just come to its end. */
  constructor() {
    super()
    document.addEventListener("visibilitychange", () => this.refresh())
    addEventListener("focus", () => this.refresh())
    // Another tab may have uploaded, or forgotten, something.
    addEventListener("storage", () => this.refresh())
  }

  /** Follow the list, or do not. */
  watch(wanted) {
    if (wanted === this.watching) return
    this.watching = wanted
    clearTimeout(this.timer)
    if (wanted) this.refresh()
  }

  /** What the service has just taken in. */
  take({key, ...job}) {
    keys.shelve(key, [job])
    this.put([job], key)
    this.refresh()
  }

  /** Whether there is more of the list. */
  get next() {
    return [...this.lists.values()].some(({next}) => next)
  }

  async refresh() {
    clearTimeout(this.timer)
    if (!this.watching || document.hidden || this.looking) return
    const owners = keys.owners()
    if (!owners.length) return this.jobs.length || this.trouble ? this.empty() : undefined
    this.looking = true
    const answers = await Promise.all(owners.map((key) => api.recordings(key).catch((error) => ({error}))))
    this.looking = false
    let trouble = ""
    owners.forEach((key, index) => {
      const {error, ...list} = answers[index]
      if (!keys.owners().includes(key)) return // forgotten meanwhile
      if (!error) this.listed(key, list)
      else if (error.status === 403) keys.unshelve(key)
      else trouble = error.status ? say.refused(error) : say.API_AWAY
    })
    this.failures = trouble ? this.failures + 1 : 0
    this.trouble = trouble
    const known = keys.owners()
    this.jobs = this.jobs.filter(({owner}) => known.includes(owner))
    for (const key of this.lists.keys()) if (!known.includes(key)) this.lists.delete(key)
    this.changed()
    const delay = Math.min(LOOK_EVERY * 2 ** this.failures, LONGEST_DELAY)
    if (this.failures || this.jobs.some(going)) this.timer = setTimeout(() => this.refresh(), delay)
  }

  /** The newest page of what is under a key. */
  listed(key, {recordings, next}) {
    const list = this.lists.get(key)
    this.lists.set(key, list?.older ? list : {next, older: false})
    const oldest = recordings.at(-1)?.created_at ?? Infinity
    const ids = new Set(recordings.map(({id}) => id))
    // What would stand on this page and does not has been erased or has expired.
    this.jobs = this.jobs.filter(({id, owner, created_at: at}) => owner !== key || ids.has(id) || (next && at < oldest))
    keys.shelve(key, recordings)
    this.put(recordings, key)
  }

  /** More of the list. */
  async more() {
    for (const [key, {next: cursor}] of this.lists) {
      if (!cursor) continue
      const {recordings, next} = await api.recordings(key, cursor)
      if (!keys.owners().includes(key)) continue
      this.lists.set(key, {next, older: true})
      keys.shelve(key, recordings)
      this.put(recordings, key)
    }
  }

  // What can be done to a recording; each throws a sentence.

  cancel = (job) => this.ask(api.cancel, job)
  retry = (job) => this.ask(api.retry, job)

  async erase(job) {
    await this.ask(api.erase, job)
    keys.forget(job.id)
    this.jobs = this.jobs.filter(({id}) => id !== job.id)
    this.changed()
  }

  async ask(what, {id, owner}) {
    try {
      const answer = await what(id, owner)
      if (answer.state) this.put([answer], owner)
    } catch (error) {
      throw new Error(say.refused(error))
    } finally {
      this.refresh()
    }
  }

  /** Know nothing of them any more; they stay where they are until they expire. */
  forget() {
    keys.clearShelves()
    this.empty()
  }

  empty() {
    this.jobs = []
    this.lists.clear()
    this.trouble = ""
    this.changed()
  }

  put(recordings, owner) {
    for (const told of recordings) {
      const job = {...told, owner, seenAt: Date.now()}
      const known = this.jobs.findIndex(({id}) => id === job.id)
      const before = this.jobs[known]
      if (before) this.jobs[known] = job
      else this.jobs.push(job)
      if (before && going(before) && !going(job)) this.dispatchEvent(new CustomEvent("over", {detail: job}))
    }
    this.jobs.sort((a, b) => b.created_at - a.created_at)
    this.changed()
  }

  changed() {
    this.dispatchEvent(new Event("change"))
  }
}
