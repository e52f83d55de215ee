/**
 * The functions of the plots. Bokeh would make them of text (`CustomJS…`), which the page's Content-Security-Policy
 * forbids, as it would an attacker's: here a model's `code` names one of these instead.
 */
{
  const two = (number) => String(number).padStart(2, "0")

  const functions = {
    /** Seconds as m:ss, from an hour on as h:mm:ss. */
    clock(seconds) {
      const whole = Math.round(seconds)
      const [hours, minutes] = [Math.floor(whole / 3_600), Math.floor(whole / 60) % 60]
      return whole < 0 ? "" : `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}`
    },

    /** What was said in a turn; `said` has the columns `turn` and `text`. */
    words(turn, {said}) {
      const {data} = said
      const row = data.turn.indexOf(turn)
      return row < 0 ? "" : `“${data.text[row]}”`
    },
  }

  const named = ({code, args}, value) => functions[code](value, args instanceof Map ? Object.fromEntries(args) : args)

  Object.assign(Bokeh.Models.get("CustomJSTickFormatter").prototype, {
    doFormat(ticks) { return ticks.map((tick) => named(this, tick)) },
  })
  Object.assign(Bokeh.Models.get("CustomJSHover").prototype, {
    format(value) { return named(this, value) },
  })
}
