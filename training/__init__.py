"""Where the models come from, in the order in which a recording becomes one.

`config` says everything that can be chosen. `corpora` are read, `folds` say who is held out, `sound` cuts the speech
out of a clip, `augment` moves it elsewhere, and `fragments` keeps what the model will hear of it. `batches` feed
`tone_net`, which `train` trains; `crossvalidation` does so for every fold, on Ray; `evaluate` counts what comes of it,
`plots` draws it, `export` writes the model and its card, and `ship` does all of that in turn. `tim_net` and
`reproduction` are the published network by its own protocol.

`simulate` lets recorded speakers talk to each other; `conversations` sends such talk through the whole pipeline, and
`scoring` counts what a user would see. `speaker_sets` collects conversations and `speakers` judges who spoke when, by
`diarisation_scoring`, against references that `rttm` reads. `voiceprint` and `projection` make the speaker encoder's
two files, and `overlap` the network that hears two at once.
"""
