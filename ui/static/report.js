// Draws a report's plots, in the system's theme and on paper in light, and lets one choose a person and a stretch.
{
  const root = document.documentElement
  const drawing = JSON.parse(document.getElementById("drawing").textContent)
  const dark = matchMedia("(prefers-color-scheme: dark)")
  const who = document.getElementById("who")
  const elements = new Map([...document.querySelectorAll("[data-plot]")].map(plot => [plot.dataset.plot, plot]))
  let plots = null // BokehJS's document and views, once there are any
  let views = []

  function dress(theme) {
    root.dataset.theme = theme
    for (const [id, attributes] of Object.entries(drawing.dress)) {
      const values = Object.entries(attributes).map(([name, pair]) => [name, pair[theme === "dark" ? 1 : 0]])
      plots?.get_model_by_id(id).setv(Object.fromEntries(values))
    }
  }
  const follow = () => dress(dark.matches ? "dark" : "light")

  const range = () => plots.get_model_by_id(drawing.range)

  function zoom(by) {
    const {start, end, min_interval} = range()
    const width = by === "all" ? drawing.length : Math.min(Math.max((end - start) * by, min_interval), drawing.length)
    const left = Math.min(Math.max((start + end - width) / 2, 0), drawing.length - width)
    range().setv({start: left, end: left + width})
  }

  /** The chosen person's plot, and of all plots those for as much time as is in sight. */
  function show() {
    const level = drawing.far && range().end - range().start > drawing.far ? "far" : "near"
    for (const element of elements.values()) {
      const {level: own = level, person = who?.value} = element.dataset
      element.hidden = own !== level || person !== who?.value
    }
  }

  function chooseLane({y}) {
    const speaker = String(drawing.lanes[Math.round(-y)])
    if (![...who?.options ?? []].some(option => option.value === speaker)) return
    who.value = speaker
    show()
  }

  /** Paper neither waits for a frame nor has the screen's width: it gets pictures. */
  function picture() {
    for (const view of views) {
      const element = view.el.parentElement
      if (element.closest("[hidden]")) continue
      view.paint()
      const image = Object.assign(new Image(), {className: "paper", alt: "", src: view.export("png").canvas.toDataURL()})
      element.append(image)
    }
  }

  for (const [name, id] of Object.entries(drawing.roots)) elements.get(name).id = `plot-${id}`
  const ids = Object.values(drawing.roots)
  const item = {docid: "report", root_ids: ids, roots: Object.fromEntries(ids.map(id => [id, `plot-${id}`]))}
  Bokeh.embed.embed_items({report: drawing.document}, [item]).then(([drawn]) => {
    views = [...drawn].filter(view => ids.includes(view.model.id))
    plots = views[0].model.document
    follow()
    show()
    dark.addEventListener("change", follow)
    range().change.connect(show)
    who?.addEventListener("change", show)
    for (const [name, id] of Object.entries(drawing.roots)) {
      if (name.startsWith("ribbons-")) plots.get_model_by_id(id).js_event_callbacks = {tap: [chooseLane]}
    }
    for (const button of document.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => zoom(button.dataset.zoom))
    }
    // Two listeners: BokehJS takes the colours of the first before the second runs.
    addEventListener("beforeprint", () => dress("light"))
    addEventListener("beforeprint", picture)
    addEventListener("afterprint", () => {
      for (const image of document.querySelectorAll(".paper")) image.remove()
      follow()
    })
    root.dataset.drawn = "yes"
  })
}
