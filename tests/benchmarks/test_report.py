"""What a report is made into: tables, a page, a section of the README; and the command that makes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import capacity, card, efficiency, plain, sides
from tests.benchmarks.examples import HEARD, TAKEN, figures
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import page
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, percent, seconds
from tests.service import ROOT, Pcm
from tests.talkers import Said


def test_ways_that_heard_more_at_once_are_not_set_against_each_other() -> None:
    row = {"joined": 24, "dropped": 0, "fragments": 1.0, **HEARD, **TAKEN}
    known: dict[str, Any] = {
        "streams": 24,
        "rows": {"as shipped": row, "singly": row | {"cpu": {"all": 0.06}}, "together": row | {"every": 1.0}},
        "fresh": {"seconds": 6.0, "cpu": 3.0, "memory_mb": 800.0},
        "skipped": {},
    }
    ratios = {row[0]: row[6] for row in sides.tables(known)[0].rows}
    assert ratios["singly"] == "2.00"
    assert ratios["together"] == "-"
    assert ratios["a fresh process a fragment"] == "100"
    known["rows"]["as shipped"] = row | {"every": 0.75}
    assert [row[6] for row in sides.tables(known)[0].rows] == ["1.00", "-", "-", "-"]


def test_the_busiest_machine_is_the_last_that_was_not_full() -> None:
    assert capacity.busiest(figures()["capacity"])["streams"] == 48


def test_the_most_and_what_each_further_one_takes_are_of_what_was_carried() -> None:
    rows = figures()["capacity"]["rows"]
    rows[0] |= {"cores": 0.24, "memory": {"diariser": 320.0}}
    assert capacity.summary(rows) == {
        "most": 48,
        "most_singly": 48,
        "each_further": {"memory_mb": pytest.approx(2.0), "cores": pytest.approx(0.03)},
    }
    assert capacity.summary(rows[2:]) == {"most": 0, "most_singly": 0, "each_further": {}}


def test_more_than_what_was_once_too_many_is_not_carried_either() -> None:
    """Chance used to carry 26 after 24 had been too many."""
    rows = [{"streams": streams, **HEARD} for streams in (8, 16, 24, 26)]
    rows[2]["kept_up"] = 0.987
    capacity.marked(rows, dropped=0)
    assert [row["carried"] for row in rows] == [True, True, False, False]


def test_what_each_takes_is_not_mixed_with_what_each_takes_when_hops_are_heard_together() -> None:
    rows = figures()["capacity"]["rows"]
    rows[1]["every"] = 1.0
    told = capacity.summary(rows)
    assert (told["most"], told["most_singly"], told["each_further"]) == (48, 8, {})


def test_a_full_machine_gets_few_more_at_a_time() -> None:
    assert capacity.gently(24, [32, 40, 96]) == [26, 28, 30, 32, 34, 36]
    assert capacity.gently(24, [28]) == [26, 28]
    assert capacity.gently(96, []) == []


@pytest.mark.parametrize(
    ("joined", "said"), [(16, "in batches of 16: eff"), (24, "in batches of 16, which take less than of 24: eff")]
)
def test_only_a_batch_that_was_tried_is_said_to_take_more(joined: int, said: str) -> None:
    known = figures()["efficiency"]
    known["served"]["joined"] = joined
    assert said in efficiency.tables(known)[0].note


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="1 cells below 2 columns"):
        Table("Latency", ["streams", "p95"]).add("8")


def test_numbers_are_as_exact_as_they_are_large() -> None:
    assert [seconds(value) for value in (0.0471, 0.471, 4.71, 47.1)] == ["0.047", "0.47", "4.71", "47"]
    assert percent(0.9912) == "99.1 %"


def test_the_page_needs_no_network_and_believes_nobody() -> None:
    known = figures()["capacity"]
    table = Table("A <script>", ["what"])
    html = page("Benchmarks", {"capacity": ([table, *capacity.tables(known)], capacity.plots(known))})
    assert not re.search(r"<(script|link|img)\b[^>]*(src|href)\s*=\s*.?https?:", html)
    assert "Capacity: live streams, PCM16" in html
    assert "A <script>" not in html


@pytest.mark.bench
def test_a_plain_loop_hears_what_it_is_given(small_conversation: tuple[Pcm, list[Said]]) -> None:
    pcm = small_conversation[0]
    told = plain.apart(plain.live, [pcm[: 16_000 * 8], np.roll(pcm, -16_000 * 8)[: 16_000 * 8]], 4.0)
    assert told["seconds"] == 2 * (8 - 4)
    assert told["fragments"] > 0
    assert sum(told["stages"].values()) == pytest.approx(told["cpu"])
    assert set(told["stages"]) == {"conversation", "diariser", "emotion model"}


def test_what_fails_in_a_process_of_its_own_says_why() -> None:
    with pytest.raises(RuntimeError, match="dict failed in a process of its own: ValueError: dictionary update"):
        plain.apart(dict, "no pairs")


@pytest.mark.bench
def test_the_network_is_timed_wherever_it_runs() -> None:
    told = plain.apart(card.throughput, 0.1, (1, 4))
    assert told["device"] == "one core" or told["gpu"]
    assert all(rate > 0 for rate in told["rates"].values())
    assert list(told["rates"]) == ["1", "4"]


def test_help_names_every_part() -> None:
    text = command.parser().format_help()
    assert all(f"  {part.name} " in text and part.about in text for part in command.PARTS.values())


def test_a_part_that_rests_on_others_is_not_run_without_them() -> None:
    assert [part.name for part in command.chosen({"batch", "latency"})] == ["latency", "batch"]
    assert command.chosen(()) == [part for name, part in command.PARTS.items() if name not in ("held", "hours")]
    assert [part.name for part in command.chosen({"held"})] == ["held"]
    with pytest.raises(ValueError, match="paper rests on capacity and length"):
        command.chosen({"paper"})


def test_a_part_that_fails_takes_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rush that failed used to take with it all that would have been measured after it."""
    report = tmp_path / "figures.json"

    def fails(_: Run) -> Figures:
        raise RuntimeError("the machine was full")

    stubs: dict[str, Callable[[Run], Figures]] = {
        "capacity": fails,
        "length": lambda _: {},
        "card": lambda _: {"rates": {}},
        "paper": lambda _: {},
    }
    parts = {
        name: Part(name, name, measured, lambda _: [], lambda _: [], command.PARTS[name].needs)
        for name, measured in stubs.items()
    }
    monkeypatch.setattr(command, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["bench", "--report", str(report)])
    with pytest.raises(SystemExit, match="capacity failed: RuntimeError: the machine was full\npaper failed"):
        command.main()
    known = json.loads(report.read_text())
    assert known["card"] == {"rates": {}}
    assert known["failed"] == {
        "capacity": "RuntimeError: the machine was full",
        "paper": "RuntimeError: it rests on capacity",
    }
    assert "the machine was full" in capsys.readouterr().out


@pytest.mark.bench
@pytest.mark.timeout(1200)
def test_every_part_runs_to_its_end(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    asked = [sys.executable, "-m", "tests.benchmarks"]
    parts = [f"--only={name}" for name in command.PARTS]
    asked_for_all = [*asked, "--quick", *parts, "--report", str(report)]
    ran = subprocess.run(asked_for_all, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    known = json.loads(report.read_text())
    assert command.PARTS.keys() <= known.keys()
    rows = known["latency"]["rows"]
    assert [(row["joined"], row["codec"]) for row in rows] == [(1, "pcm16"), (8, "pcm16"), (8, "webm")]
    assert all(0 < row["p50"] <= row["p95"] <= row["p99"] for row in rows)
    (run,) = known["held"]["runs"]
    assert [(row["asked"], row["streams"]) for row in run["levels"]] == [(2, 2), (4, 4)]
    assert all(row["cpu"]["diariser"] > 0 and row["count"] >= 4 * row["streams"] for row in run["levels"])
    assert (run["refusal"]["running"], run["refusal"]["came"], run["dropped"]) == (4, 2, 0)
    assert run["ready_after"] > 0 < run["rest"]["memory_gb"]
    assert report.with_suffix(".html").stat().st_size > 100_000
    told = subprocess.run([*asked, "--readme", str(report)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| 8 webm |" in told.stdout
    assert "**Held for 4 s, run by run**" in told.stdout
