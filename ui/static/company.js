/** Who of those whose voices are enrolled takes part in the next recording. Most people never open this. */

import * as api from "./api.js"
import {confirmed} from "./controls.js"
import {element as $, make, write} from "./elements.js"
import * as enrolment from "./enrolment.js"
import {permitted} from "./microphone.js"
import * as say from "./sentences.js"
import * as voices from "./voices.js"

const present = new Set() // ids of the voices of those who take part

/** Their voices, as the service takes them. */
export const chosen = () => voices.known().filter(({id}) => present.has(id)).map(({id, key}) => ({id, key}))

/** The next recording has other people in it. */
export function leave() {
  present.clear()
  draw()
}

/** Ask the service which voices are still there, and forget the others; their names, and of whom the key is refused. */
export async function look() {
  const gone = []
  const shut = []
  for (const {id, key, name} of voices.known()) {
    await api.voice(id, key).catch(({status}) => {
      // The voice may still be there, and nothing else opens it or erases it: its key is kept.
      if (status === 403) shut.push({id, name})
      if (status !== 404) return
      voices.drop(id)
      gone.push(name)
    })
  }
  if (gone.length) draw()
  if (shut.length) tell(say.voicesShut(shut.map(({name}) => name)), true)
  return {gone, shut: shut.filter(({id}) => present.has(id)).map(({name}) => name)}
}

/** @param {() => boolean} ready asks for what the server wants before a voice is enrolled; whether it is there */
export function wire(ready) {
  $("known").ontoggle = () => $("known").open && look()
  $("enrol").onclick = () => ready() && enrolment.open()
  enrolment.wire((voice) => {
    voices.keep(voice)
    present.add(voice.id)
    draw()
    tell(say.enrolled(voice))
    box(voice.id).focus()
  })
  // Another tab may have enrolled somebody, or erased a voice.
  addEventListener("storage", ({key}) => [voices.PLACE, null].includes(key) && draw())
  draw()
}

const box = (id) => document.getElementById(`voice-${id}`)

function draw() {
  const known = voices.known()
  $("known").hidden = !known.length && !permitted()
  $("enrol").disabled = !permitted()
  $("voices").replaceChildren(...known.map(row))
  count()
}

function count() {
  write($("known-count"), say.takingPart(chosen().length))
}

function tell(sentence, wrong = false) {
  write($("known-told"), sentence)
  $("known-told").className = wrong ? "wrong" : "soft"
}

function row({id, key, name, until}) {
  const tick = make("input", {type: "checkbox", id: `voice-${id}`, checked: present.has(id)})
  tick.onchange = () => {
    present[tick.checked ? "add" : "delete"](id)
    count()
  }
  const facts = make("small", {textContent: say.keptUntil(until)})
  const label = make("label", {className: "tick"}, tick, make("span", {}, make("b", {textContent: name}), facts))
  const erase = make("button", {type: "button", className: "link", textContent: "Erase", ariaLabel: `Erase the voice of ${name}`})
  erase.onclick = async () => await confirmed(say.eraseVoice(name)) && remove({id, key, name})
  return make("li", {}, label, erase)
}

async function remove({id, key, name}) {
  try {
    await api.eraseVoice(id, key)
  } catch (error) {
    if (error.status !== 404) return tell(say.refused(error), true)
  }
  voices.drop(id)
  present.delete(id)
  draw()
  tell(say.voiceErased(name))
  return $("enrol").focus()
}
