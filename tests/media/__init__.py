"""Recordings of every kind that people have, and files that are none, made anew from synthetic talkers.

    for medium in make_media(folder):
        ...

What is in them: `tests.media.good`, `tests.media.bad`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.media.bad import bad_media
from tests.media.good import good_media
from tests.media.medium import Medium

__all__ = ["Medium", "make_media"]


def make_media(folder: Path) -> list[Medium]:
    """Write them all into a folder, in some 4 s, and say what they are. Their names are unique."""
    folder.mkdir(parents=True, exist_ok=True)
    media = []
    for data, medium in (*good_media(), *bad_media()):
        path = folder / medium.name
        path.write_bytes(data)
        media.append(replace(medium, path=path))
    return media
