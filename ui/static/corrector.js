/** What the recorder may correct in a person's card: what they are called, and that two of them are one. */

import {element, make, write} from "./elements.js"
import * as say from "./sentences.js"

const LONGEST_NAME = 80

const numbered = ({speaker}) => `Speaker ${speaker}`

export class Corrector {
  person = null
  others = []
  form = null // the one that is open

  /** @param {{rename: (name: string) => Promise, merge: (into: number) => Promise}} act both throw sentences */
  constructor(act) {
    this.act = act
    this.renaming = this.opener("Rename", () => this.openName())
    this.merging = this.opener("Same person as …", () => this.openMerge())
    this.tools = make("div", {className: "tools"}, this.renaming, this.merging)
    this.root = make("div", {className: "corrector", hidden: true}, this.tools)
  }

  /** What somebody is called here: two people may share a name, but not a number. */
  told(person) {
    const everyone = [this.person, ...this.others]
    const shared = everyone.some(({speaker, name}) => speaker !== person.speaker && name === person.name)
    return shared ? `${person.name} (${numbered(person).toLowerCase()})` : person.name
  }

  opener(text, open) {
    const button = make("button", {type: "button", className: "link", textContent: text})
    button.onclick = open
    return button
  }

  /** Follow the person's card; what is being written stays. */
  show(person, others, allowed) {
    this.person = person
    this.others = others
    this.root.hidden = !allowed
    if (!allowed) this.close()
    this.renaming.setAttribute("aria-label", `Rename ${person.name}`)
    this.merging.setAttribute("aria-label", `Same person as …: ${person.name}`)
    this.merging.hidden = !others.length
    if (this.choice) this.offer()
  }

  openName() {
    const field = make("input", {type: "text", maxLength: LONGEST_NAME, autocomplete: "off", value: this.person.given})
    field.placeholder = numbered(this.person)
    const label = make("label", {}, `Name of ${numbered(this.person).toLowerCase()}`, field)
    const hint = make("small", {textContent: `Empty: “${numbered(this.person)}” again.`, hidden: !this.person.given})
    this.open(this.renaming, "Save", [label, hint], async () => {
      const name = field.value.trim()
      await this.act.rename(name)
      write(element("corrected"), say.renamed(numbered(this.person), name))
      this.close(this.renaming)
    })
    field.select()
  }

  openMerge() {
    this.choice = make("select", {required: true}, make("option", {value: "", textContent: "Please choose"}))
    this.offer()
    const label = make("label", {}, `${this.told(this.person)} is the same person as`, this.choice)
    this.open(this.merging, "Continue", [label], async () => {
      const into = this.others.find(({speaker}) => speaker === Number(this.choice.value))
      if (!into || !(await this.confirmed(into))) return
      const sentence = say.merged(this.person.name, into.name)
      await this.act.merge(into.speaker)
      write(element("corrected"), sentence)
      this.close()
    })
  }

  /** The others to choose from, as they are now. */
  offer() {
    const [ask, ...known] = this.choice.options
    const chosen = this.choice.value
    const same = known.map(({value, textContent}) => value + textContent).join() ===
      this.others.map((other) => other.speaker + this.told(other)).join()
    if (same) return
    this.choice.replaceChildren(ask, ...this.others.map((other) =>
      make("option", {value: other.speaker, textContent: this.told(other)})))
    this.choice.value = this.others.some(({speaker}) => String(speaker) === chosen) ? chosen : ""
  }

  /** What will happen, and whether it shall. */
  confirmed(into) {
    const dialog = element("merge-dialog")
    element("merge-title").textContent = `Are ${this.told(this.person)} and ${this.told(into)} one person?`
    const name = into.given ? "" : this.person.given
    element("merge-text").textContent = say.merging(this.told(this.person), this.told(into), name)
    dialog.returnValue = ""
    dialog.showModal()
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue === "merge")
    })
  }

  open(opener, word, fields, submit) {
    this.close()
    const save = make("button", {className: "primary", textContent: word})
    const cancel = make("button", {type: "button", textContent: "Cancel"})
    const wrong = make("p", {className: "wrong", role: "alert", hidden: true})
    const form = make("form", {}, ...fields, wrong, make("div", {className: "buttons"}, save, cancel))
    cancel.onclick = () => this.close(opener)
    form.onkeydown = (event) => {
      if (event.key === "Escape" && !event.isComposing) this.close(opener)
    }
    let busy = false // not the button's `disabled`, which would take the focus away
    form.onsubmit = async (event) => {
      event.preventDefault()
      if (busy) return
      busy = true
      wrong.hidden = true
      try {
        await submit()
      } catch (error) {
        wrong.textContent = error.message
        wrong.hidden = false
      }
      busy = false
    }
    this.form = form
    this.tools.hidden = true
    this.root.append(form)
    form.querySelector("input, select").focus()
  }

  /** Put the form away, and the focus where it came from. */
  close(opener = null) {
    if (!this.form) return
    this.tools.hidden = false
    opener?.focus() // while the form is there: without it, and without the focus, a card that is not chosen shows no tools
    this.form.remove()
    this.form = this.choice = null
  }
}
