from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from bokeh.plotting import figure

from pipeline.timeline import EMOTIONS, UNSURE
from training.plots import NoBrowser, by_seconds, confusion, coverage, reliability, write_svg

RECALL = {
    "causal": {"1 s": (0.5, 0.4, 0.6), "whole": (0.6, 0.5, 0.7)},
    "full": {"1 s": (0.6, 0.5, 0.7), "2 s": (0.7, 0.6, 0.8), "whole": (0.7, 0.6, 0.8)},
}


def drawn(plot: figure, name: str) -> dict[str, list[Any]]:
    """The columns behind one renderer."""
    return {column: list(values) for column, values in plot.select_one({"name": name}).data_source.data.items()}


def figures() -> dict[str, figure]:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, 400)
    right = rng.random(400) < confidence
    return {
        "confusion": confusion(rng.integers(0, 200, (8, 9)), "Fear & sadness sound < alike"),
        "reliability": reliability(confidence, right, 0.0234, "It is about as sure as it is right"),
        "by-seconds": by_seconds(RECALL, "Two seconds are enough"),
        "coverage": coverage(confidence, right, 0.6, "Saying less makes it right more often"),
    }


def test_the_shares_of_what_was_heard_add_up_for_every_emotion_spoken() -> None:
    counts = np.random.default_rng(0).integers(1, 50, (8, 9))
    cells = drawn(confusion(counts, ""), "cells")
    for row, emotion in enumerate(EMOTIONS):
        of_one = {
            heard: share
            for spoken, heard, share in zip(cells["spoken"], cells["heard"], cells["share"], strict=True)
            if spoken == emotion
        }
        assert list(of_one) == [*EMOTIONS, UNSURE]
        assert sum(of_one.values()) == pytest.approx(1)
        assert of_one["sad"] == pytest.approx(counts[row, EMOTIONS.index("sad")] / counts[row].sum())


def test_an_emotion_that_nobody_spoke_has_no_shares() -> None:
    counts = np.eye(8, dtype=int)
    counts[EMOTIONS.index("calm")] = 0
    cells = drawn(confusion(counts, ""), "cells")
    texts = dict(zip(zip(cells["spoken"], cells["heard"], strict=True), cells["text"], strict=True))
    assert texts["calm", "calm"] == texts["calm", "sad"] == "-"
    assert texts["fear", "fear"] == "100 %"
    assert texts["fear", "sad"] == "0 %"


def test_every_reading_is_in_the_bin_of_its_confidence() -> None:
    confidence = np.array([0.2, 0.29, 0.65, 1.0])
    plot = reliability(confidence, np.array([True, False, True, True]), 0.1, "")
    assert drawn(plot, "bars")["share"] == pytest.approx([0, 0, 0.5, 0, 0, 0, 0.25, 0, 0, 0.25])
    dots = drawn(plot, "dots")
    assert dots["confidence"] == pytest.approx([0.245, 0.65, 1])
    assert dots["accuracy"] == pytest.approx([0.5, 1, 1])
    assert dots["size"][0] > dots["size"][1] == dots["size"][2]


def test_every_mode_stands_over_what_it_heard() -> None:
    plot = by_seconds(RECALL, "")
    names = plot.xaxis[0].major_label_overrides
    for mode, row in RECALL.items():
        points = drawn(plot, mode)
        assert [names[round(x)] for x in points["x"]] == list(row)
        bounds = list(zip(points["value"], points["low"], points["high"], strict=True))
        assert bounds == list(row.values())


def test_the_chosen_threshold_stands_where_the_curve_passes() -> None:
    confidence = np.array([0.9, 0.3, 0.8, 0.5])
    right = np.array([True, False, True, False])
    plot = coverage(confidence, right, 0.5, "")
    assert drawn(plot, "chosen") == {"asserted": [0.75], "accuracy": [pytest.approx(2 / 3)]}
    assert drawn(plot, "curve")["asserted"] == [0.25, 0.5, 0.75, 1]
    assert drawn(plot, "curve")["accuracy"] == pytest.approx([1, 1, 2 / 3, 0.5])


def test_a_threshold_that_nothing_reaches_is_not_marked() -> None:
    plot = coverage(np.array([0.4, 0.5]), np.array([True, False]), 0.99, "")
    assert plot.select_one({"name": "chosen"}) is None


def test_the_files_are_small_svg_that_scale_and_show_their_titles(
    tmp_path: Path, chromium: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_CHROMIUM", chromium)
    paths = write_svg(figures(), tmp_path / "plots")
    assert [path.name for path in paths] == ["confusion.svg", "reliability.svg", "by-seconds.svg", "coverage.svg"]
    titles = [plot.title.text for plot in figures().values()]
    for path, title in zip(paths, titles, strict=True):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("width") == root.get("viewBox", "").split()[2] == "700"
        assert title in {element.text for element in root.iter()}
        assert path.stat().st_size < 60_000
    assert "calibration error (ECE) 0.023" in paths[1].read_text()


def test_the_same_figures_give_the_same_bytes(tmp_path: Path, chromium: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONETRACK_CHROMIUM", chromium)
    once, again = (write_svg(figures(), tmp_path / name) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_without_a_browser_it_says_so_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TONETRACK_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoBrowser, match="no Chromium"):
        write_svg(figures(), tmp_path / "plots")
    monkeypatch.setenv("TONETRACK_CHROMIUM", str(tmp_path / "missing"))
    with pytest.raises(NoBrowser, match="does not start"):
        write_svg(figures(), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
