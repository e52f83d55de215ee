"""Bokeh runs this file for each document; everything lives in objects, so that nothing here outlives its run."""

from bokeh.io import curdoc

from ui.feed import hub
from ui.page import Page

Page(curdoc(), hub(), getattr(getattr(curdoc().session_context, "request", None), "remote_ip", ""))
