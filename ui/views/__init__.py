"""The plots. Each view owns its figure and sources, and draws a `Timeline` anew or extends it by `Changes`."""
