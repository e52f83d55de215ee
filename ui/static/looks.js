/** Who has looked at what is shown, for whoever may know: asked for when it is opened, and never by itself. */

import * as api from "./api.js"
import {element as $, make, write} from "./elements.js"
import * as say from "./sentences.js"

/** @param {() => {session: string, recorderKey: string, recording: boolean}} shown what the page shows */
export function wire(shown) {
  $("looks").ontoggle = () => $("looks").open && load(shown())
}

/** Another session is shown, or none. */
export function close() {
  $("looks").open = false
  draw([], "")
}

async function load({session, recorderKey, recording}) {
  if (!$("looks-list").children.length) write($("looks-told"), say.ASKING_FOR_LOOKS)
  try {
    const {looks} = await api.looks(recording ? "recordings" : "sessions", session, recorderKey)
    draw(looks, looks.length ? say.LOOKS_ARE_JOINED : say.NOBODY_LOOKED)
  } catch (error) {
    draw([], say.refused(error))
  }
}

function draw(looks, told) {
  const items = looks.map(({who, what, since, until}) =>
    make("li", {}, make("span", {textContent: say.look(who, what)}), make("small", {textContent: say.span(since, until)})))
  $("looks-list").replaceChildren(...items)
  $("looks-list").hidden = !items.length
  write($("looks-told"), told)
}
