/**
 * Keys to sessions. The viewer key stands in the URL's fragment, which browsers never send; the recorder key stays in
 * this tab's storage, so that a reload can go on recording and a copied link cannot.
 */

const place = (session) => `tonetrack:${session}`

/** The session in the address, or null. */
export function addressed() {
  const session = new URLSearchParams(location.search).get("session")
  if (!session) return null
  const kept = stored(session)
  return {session, viewerKey: decoded(location.hash.slice(1)), recorderKey: kept?.recorderKey ?? null, codec: kept?.codec ?? "pcm16"}
}

/** Keep a new session's keys, and put the viewer's into the address. */
export function keep({session, recorderKey, viewerKey, codec}) {
  try {
    sessionStorage.setItem(place(session), JSON.stringify({recorderKey, codec}))
  } catch { /* without storage a reload can only watch */ }
  history.replaceState(null, "", `?session=${encodeURIComponent(session)}#${encodeURIComponent(viewerKey)}`)
}

export function forget(session) {
  try {
    sessionStorage.removeItem(place(session))
  } catch { /* nothing was stored */ }
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
