/** The people cards and the newest probabilities. All text goes in as text, never as HTML. */

const EMOTIONS = ["angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
const element = (id) => document.getElementById(id)

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties)
  node.append(...children)
  return node
}

function swatch(emotion) {
  const mark = make("i", {className: "swatch"})
  mark.dataset.emotion = emotion
  return mark
}

/** m:ss */
export function clock(seconds) {
  const whole = Math.floor(seconds)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`
}

/** Draw everyone; cards stay the same elements, so that focus stays where it is. */
export function draw(people, selected, choose) {
  const list = element("cards")
  while (list.children.length > people.length) list.lastChild.remove()
  people.forEach((person, index) => {
    if (!list.children[index]) list.append(make("li", {}, blank(choose)))
    fill(list.children[index].firstChild, person, person.speaker === selected)
  })
  const person = people.find(({speaker}) => speaker === selected)
  element("probabilities-title").textContent = person?.name ?? "One person"
  drawValues(person?.probabilities ?? [])
}

function blank(choose) {
  const card = make("button", {type: "button", className: "who"})
  const how = make("span", {className: "how"}, swatch(""), make("span"))
  card.append(make("span", {className: "line"}, make("b"), how))
  card.append(make("span", {className: "line"}, make("small"), make("small")))
  card.append(make("span", {className: "bar", ariaHidden: "true"}, make("i")))
  card.onclick = () => choose(Number(card.dataset.speaker))
  return card
}

function fill(card, person, chosen) {
  const [name, how] = card.children[0].children
  const [talk, confidence] = card.children[1].children
  card.dataset.speaker = person.speaker
  card.setAttribute("aria-pressed", String(chosen))
  name.textContent = person.name
  how.firstChild.dataset.emotion = person.label
  how.lastChild.textContent = person.sounds
  const share = Math.round(person.share * 100)
  talk.textContent = `${share} % of the talk, ${clock(person.seconds)}`
  confidence.textContent = person.label ? `confidence ${person.confidence.toFixed(2)}` : ""
  card.lastChild.firstChild.style.width = `${share}%`
}

function drawValues(probabilities) {
  const list = element("values")
  const pairs = probabilities.map((value, index) => [EMOTIONS[index], value]).sort((a, b) => b[1] - a[1])
  list.replaceChildren(...pairs.map(([emotion, value]) =>
    make("li", {}, swatch(emotion), emotion, make("b", {textContent: value.toFixed(2)}))))
}

