// Runs before the first paint, so that nobody who prefers dark sees a white flash.
(() => {
  let kept = null
  try {
    kept = localStorage.getItem("tonetrack-theme")
  } catch { /* storage may be forbidden; the system's preference then decides each time */ }
  const dark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches
  document.documentElement.dataset.theme = dark ? "dark" : "light"
})()
