/**
 * The people cards, and the selected person's probabilities: the newest or, once it is over, the mean. All text goes in
 * as text, never as HTML.
 */

import {Corrector} from "./corrector.js"
import {clock, element, make, write} from "./elements.js"
import * as say from "./sentences.js"

const EMOTIONS = ["angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
const cards = new Map() // by speaker: the item, and who corrects it
let act = {}

function swatch(emotion) {
  const mark = make("i", {className: "swatch"})
  mark.dataset.emotion = emotion
  return mark
}

/** What the cards ask for: choose(speaker), rename(speaker, name), merge(speaker, into); the last two may throw. */
export function wire(actions) {
  act = actions
}

/** Draw everyone; cards stay the same elements, so that focus and what is being written stay where they are. */
export function draw(people, selected, mayCorrect) {
  const list = element("cards")
  for (const [speaker, {item}] of cards) {
    if (people.some((person) => person.speaker === speaker)) continue
    const held = item.contains(document.activeElement)
    item.remove()
    cards.delete(speaker)
    if (held) element("people").focus()
  }
  people.forEach((person, index) => {
    if (!cards.has(person.speaker)) cards.set(person.speaker, blank(person.speaker))
    const {item, corrector} = cards.get(person.speaker)
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null)
    item.classList.toggle("chosen", person.speaker === selected)
    fill(item.firstChild, person, person.speaker === selected)
    corrector.show(person, people.filter((other) => other !== person), mayCorrect)
  })
  const person = people.find(({speaker}) => speaker === selected)
  element("probabilities-title").textContent = person?.name ?? "One person"
  const probabilities = person?.probabilities ?? []
  drawValues(probabilities)
  const whole = people.some((one) => one.whole)
  element("values-span").hidden = !whole || !probabilities.length
  tellSpan(whole)
}

/** Say whether cards, values and mood map are of now or of the whole recording. */
function tellSpan(whole) {
  for (const note of document.querySelectorAll("[data-over]")) note.hidden = !whole
  write(element("moods-span"), whole ? say.OVER_ALL : "last 60 s")
  element("values").setAttribute("aria-label", whole ? `Mean probabilities ${say.OVER_ALL}` : "Newest probabilities")
  const [probabilities, moods] = ["probabilities", "moods"].map((name) => document.querySelector(`[data-plot=${name}]`))
  probabilities.setAttribute("aria-label", say.probabilitiesPlot(whole))
  moods.setAttribute("aria-label", say.moodsPlot(whole))
}

function blank(speaker) {
  const card = make("button", {type: "button", className: "who"})
  const how = make("span", {className: "how"}, swatch(""), make("span"))
  card.append(make("span", {className: "line"}, make("b"), how))
  card.append(make("small", {className: "recognised", textContent: "recognised by voice"}))
  card.append(make("span", {className: "line"}, make("small"), make("small")))
  card.append(make("span", {className: "bar", ariaHidden: "true"}, make("i")))
  card.onclick = () => act.choose(speaker)
  const corrector = new Corrector({
    rename: (name) => act.rename(speaker, name),
    merge: async (into) => {
      await act.merge(speaker, into)
      act.choose(into)
      cards.get(into)?.item.firstChild.focus()
    },
  })
  return {item: make("li", {}, card, corrector.root), corrector}
}

function fill(card, person, chosen) {
  const [name, how] = card.children[0].children
  const [talk, confidence] = card.children[2].children
  card.setAttribute("aria-pressed", String(chosen))
  name.textContent = person.name
  name.title = person.name
  card.children[1].hidden = !person.recognised
  how.firstChild.dataset.emotion = person.label
  how.lastChild.textContent = person.sounds
  const share = Math.round(person.share * 100)
  talk.textContent = `${share} % of the talk, ${clock(person.seconds)}`
  const sure = person.label ? `confidence ${person.confidence.toFixed(2)}` : ""
  confidence.textContent = person.whole ? person.portion && `${person.portion} of it` : sure
  confidence.title = person.portion && say.OF_THEIR_TALK
  card.lastChild.firstChild.style.width = `${share}%`
}

function drawValues(probabilities) {
  const list = element("values")
  const pairs = probabilities.map((value, index) => [EMOTIONS[index], value]).sort((a, b) => b[1] - a[1])
  list.replaceChildren(...pairs.map(([emotion, value]) =>
    make("li", {}, swatch(emotion), emotion, make("b", {textContent: value.toFixed(2)}))))
}
