/**
 * The enrolled voices that this browser knows. Their keys stay in its storage until the voices expire, are erased or are
 * forgotten with it, so that whoever was enrolled here is called by their name in the next recording, too.
 */

export const PLACE = "tonetrack-voices" // in the browser's storage: [{id, key, name, until}], `until` in Unix seconds

let held = [] // where the browser stores nothing

/** Those that have not expired, in the order in which they were enrolled. */
export const known = () => read().filter(({until}) => until * 1_000 > Date.now())

/** Keep what the service says of a new voice. */
export const keep = ({id, key, name, expires_at: until}) => write([...known(), {id, key, name, until}])

/** Know nothing of a voice any more. */
export const drop = (id) => write(known().filter((voice) => voice.id !== id))

/** Read anew before each change, for another tab may have written meanwhile. */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(PLACE)) ?? []
    held = kept.filter(({id, key, name, until}) => id && key && name && until)
  } catch { /* storage is forbidden, or holds what is not ours */ }
  return held
}

function write(voices) {
  held = voices
  try {
    if (voices.length) localStorage.setItem(PLACE, JSON.stringify(voices))
    else localStorage.removeItem(PLACE)
  } catch { /* it then lasts as long as the page */ }
}
