/**
 * Keys to sessions and recordings. The viewer key stands in the URL's fragment, which browsers never send; the
 * recorder key of a live session stays in this tab's storage, so that a reload can go on recording and a copied link
 * cannot. The API key stays there, too. The keys to what was uploaded here stay in this browser's storage, so that it
 * is found again: more than one, where two tabs made their first upload at once.
 */

const SHELF = "tonetrack-recordings" // in the browser's storage: [{key, viewers: {id: viewer key}}], the newest key first
const place = (session) => `tonetrack:${session}`

/** The session in the address, or null. `uploaded`: it is known here as a recording. */
export function addressed() {
  const session = new URLSearchParams(location.search).get("session")
  if (!session) return null
  const kept = stored(session)
  const key = owner(session)
  const uploaded = key !== null
  return {
    session, uploaded, viewerKey: decoded(location.hash.slice(1)), codec: kept?.codec ?? "pcm16",
    recorderKey: kept?.recorderKey ?? key,
  }
}

/** The page's address for a session. */
export const link = (session, viewerKey) =>
  `?session=${encodeURIComponent(session)}${viewerKey ? `#${encodeURIComponent(viewerKey)}` : ""}`

/** Keep a new session's keys, and put the viewer's into the address. */
export function keep({session, recorderKey, viewerKey, codec}) {
  try {
    sessionStorage.setItem(place(session), JSON.stringify({recorderKey, codec}))
  } catch { /* without storage a reload can only watch */ }
  history.replaceState(null, "", link(session, viewerKey))
}

/** Put another viewer key into the address, and where recordings are known. */
export function readdress({session, recorderKey, viewerKey, uploaded}) {
  if (uploaded) shelve(recorderKey, [{id: session, viewer_key: viewerKey}])
  history.replaceState(null, "", link(session, viewerKey))
}

export function forget(session) {
  try {
    sessionStorage.removeItem(place(session))
  } catch { /* nothing was stored */ }
  if (owner(session) === null) return
  const shelves = read()
  for (const {viewers} of shelves) delete viewers[session]
  write(shelves)
}

const API_KEY = "tonetrack-api-key" // in this tab's storage

let apiKeyHeld = "" // where the browser stores nothing

/** The API key that this server may require for whatever is begun here; empty without one. */
export function apiKey() {
  try {
    return sessionStorage.getItem(API_KEY) ?? apiKeyHeld
  } catch {
    return apiKeyHeld
  }
}

/** Keep it for as long as this tab is open. */
export function keepApiKey(key) {
  apiKeyHeld = key
  try {
    sessionStorage.setItem(API_KEY, key)
  } catch { /* it then lasts as long as the page */ }
}

let held = [] // the shelves, where the browser stores nothing

/** The keys to all that was uploaded here, the newest first. */
export const owners = () => read().map(({key}) => key)

/** The key that a recording is under, or null where it is not known here. */
export const owner = (id) => read().find(({viewers}) => id in viewers)?.key ?? null

/** What only lets watch a recording; empty where it is not known. */
export const viewer = (id) => read().find(({viewers}) => id in viewers)?.viewers[id] ?? ""

/** Keep the key of what was uploaded, and what is known to be under it. */
export function shelve(key, recordings) {
  const shelves = read()
  const known = shelves.find((shelf) => shelf.key === key)
  const {viewers} = known ?? {viewers: {}}
  const news = recordings.filter(({id, viewer_key: viewerKey}) => !(id in viewers) || viewerKey)
  for (const {id, viewer_key: viewerKey} of news) viewers[id] = viewerKey ?? ""
  if (!known) write([{key, viewers}, ...shelves])
  else if (news.length) write(shelves)
}

/** Nothing is under a key any more. */
export const unshelve = (key) => write(read().filter((shelf) => shelf.key !== key))

/** Know nothing of what was uploaded here any more. */
export const clearShelves = () => write([])

/** Read anew before each change, for another tab may have written meanwhile; a change never waits for anything. */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(SHELF)) ?? []
    held = (Array.isArray(kept) ? kept : [kept]).filter((shelf) => shelf?.key) // there used to be one
  } catch { /* storage is forbidden, or holds what is not ours */ }
  return held.map(({key, viewers}) => ({key, viewers: {...viewers}}))
}

function write(shelves) {
  held = shelves
  try {
    if (shelves.length) localStorage.setItem(SHELF, JSON.stringify(shelves))
    else localStorage.removeItem(SHELF)
  } catch { /* it then lasts as long as the page */ }
}

/** A key that was cut off or mangled on its way opens nothing, and the page then says so. */
function decoded(fragment) {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return ""
  }
}

function stored(session) {
  try {
    return JSON.parse(sessionStorage.getItem(place(session)))
  } catch {
    return null
  }
}
