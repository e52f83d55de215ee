"""What several test modules share: the service, a conversation, the recorded corpora, a browser."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.service import ROOT, Pcm, Service, free_port, running_service
from tests.talkers import HIGH, LOW, Said, conversation, small_talk


def missing(reason: str) -> None:
    """Skip what cannot run here; where everything must run, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a script's job in the background has it
    # What the tests start would inherit that, and not hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, all that share the service run in one process, the others of a module together."""
    for item in items:
        served = "service" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("service" if served else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """The whole service, shared by all tests that leave it as it was."""
    with running_service(heartbeat=2, metrics_port=free_port(), log_format="json", log_level="DEBUG") as running:
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


Figures = dict[str, object]
FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Notes a figure that a test has measured; all of them stand at the end of what pytest says."""
    figures = request.config.stash.setdefault(FIGURES, {})

    def note(name: str, figure: object) -> None:
        figures[name] = round(figure, 2) if isinstance(figure, float) else figure

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was measured."""
    if figures := config.stash.get(FIGURES, {}):
        terminalreporter.section("figures")
        for name, figure in figures.items():
            terminalreporter.write_line(f"{name}: {figure}")
