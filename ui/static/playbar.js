/** The player's controls. */

import {clock, element as $, write} from "./elements.js"
import * as say from "./sentences.js"

const LARGE = 200e6 // bytes of sound that take a while to come

let held = false // the slider, by somebody who is about to let it go

/** @param player @param {{seek: (seconds: number) => void}} act */
export function wire(player, act) {
  $("play").onclick = () => player.toggle()
  $("stop-loading").onclick = () => {
    player.stopLoading()
    $("play").focus()
  }
  $("seek").oninput = () => { held = true; showTime(Number($("seek").value), player.seconds) }
  $("seek").onchange = () => { held = false; act.seek(Number($("seek").value)) }
  $("rate").onchange = () => { player.rate = Number($("rate").value) }
  player.addEventListener("change", () => draw(player))
  player.addEventListener("tick", () => held || showTime(player.time, player.seconds))
  draw(player)
}

function draw(player) {
  const {state, message, share, bytes} = player
  document.documentElement.dataset.player = state
  $("player").hidden = state === "none"
  $("controls").hidden = !player.available
  $("play").textContent = state === "playing" ? "❚❚" : state === "loading" ? "✕" : "▶"
  $("play").setAttribute("aria-label", {playing: "Pause", loading: "Stop loading"}[state] ?? "Play")
  $("play").title = $("play").getAttribute("aria-label")
  if (Number($("seek").max) !== player.seconds) $("seek").max = player.seconds
  const large = bytes > LARGE
  $("stop-loading").hidden = state !== "loading" || !large
  write($("player-says"), state === "loading" ? say.loadingSound(share, large ? bytes : 0) : state === "absent" ? say.NOT_KEPT : message)
  $("player-says").hidden = !$("player-says").textContent
  $("sound").hidden = state !== "broken"
  if (state === "broken") Object.assign($("sound"), {href: player.url, download: player.file || "sound"})
}

function showTime(time, seconds) {
  const slider = $("seek")
  const told = clock(time)
  if (!held) slider.value = time
  slider.style.setProperty("--share", seconds ? `${(100 * time) / seconds}%` : "0%")
  write($("time"), told)
  write($("whole"), clock(seconds))
  const said = `${told} of ${clock(seconds)}`
  if (slider.getAttribute("aria-valuetext") !== said) slider.setAttribute("aria-valuetext", said)
}
