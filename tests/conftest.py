"""What several test modules share: the service, a conversation, the recorded corpora, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.service import ROOT, Pcm, Service, running_service
from tests.talkers import HIGH, LOW, Said, conversation, small_talk


def missing(reason: str) -> None:
    """Skip what cannot run here; where everything must run, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The whole service, shared by all tests that leave it as it was."""
    with running_service(heartbeat=2) as running:
        yield running


@pytest.fixture(scope="session")
def small_conversation() -> tuple[Pcm, list[Said]]:
    """24 s of two synthetic talkers as int16 samples, and who said what."""
    audio, said = conversation((LOW, HIGH), small_talk(talkers=2, seconds=24, seed=5), seed=5)
    return np.round(audio * 32_767).astype(np.int16), said


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of recorded corpora."""
    folder = Path(os.environ.get("TONETRACK_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"no recorded corpora at {folder}; TONETRACK_DATA names another place")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    path = os.environ.get("TONETRACK_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        missing("no Chromium here: install one, or name it in TONETRACK_CHROMIUM")
    return str(path)
