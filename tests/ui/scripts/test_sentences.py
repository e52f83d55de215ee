"""What is told of sizes and times."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page


@pytest.mark.parametrize(
    ("share", "size", "sentence"),
    [
        (None, 0, "Loading the sound …"),
        (0.125, 0, "Loading the sound, 12 %"),
        (None, 312e6, "312 MB, downloading"),
        (0.5, 1.2e9, "1.2 GB, downloading, 50 %"),
    ],
)
def test_how_much_of_the_sound_is_there_is_told(page: Page, share: float | None, size: float, sentence: str) -> None:
    script = "async ([share, size]) => (await import('/sentences.js')).loadingSound(share, size)"
    assert page.evaluate(script, [share, size]) == sentence


def test_hours_are_told_as_hours(page: Page) -> None:
    told = page.evaluate(
        """async () => {
        const {clock} = await import("/elements.js")
        return [0, 59.9, 61, 3599, 3600, 37_230].map(clock)
    }"""
    )
    assert told == ["0:00", "0:59", "1:01", "59:59", "1:00:00", "10:20:30"]
