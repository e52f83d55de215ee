"""The page: a Bokeh server app in directory format that records a conversation and draws how it sounds."""
