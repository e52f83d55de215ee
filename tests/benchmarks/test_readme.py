"""What is said of an aim, and what the README tells of runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import capacity, held
from tests.benchmarks.examples import HEARD, figures, held_three_times
from tests.benchmarks.readme import AIMS, aims, markdown


def met(known: dict[str, Any], what: str) -> str:
    """What is said of an aim, by how it begins."""
    (row,) = (row for row in aims(known).rows if row[0].startswith(what))
    return row[3]


def test_every_aim_stands_beside_its_figure() -> None:
    told = {row[0]: row[1:] for row in aims(figures() | {"held": held_three_times()["held"]}).rows}
    assert len(told) == len(AIMS)
    assert told["48 live streams heard every 0.5 s, p95"] == ("≤ 0.8 s", "0.40 s", "yes")
    assert told["64 live streams heard every 1.0 s, p95"] == ("≤ 1.0 s", "0.40 s", "yes")
    assert told["hops that kept up, 48 and 64 live streams"] == ("≥ 99 %", "100.0 %", "yes")
    assert told["8 live streams heard every 0.5 s, p95"] == ("≤ 0.5 s", "0.40 s", "yes")
    assert told["CPU of all processes for a second of sound, 48 live streams"] == ("≤ 0.035 s", "0.0300 s", "yes")
    refused = told["who comes besides is refused in order, and those there are undisturbed"]
    assert refused == ("p95 +0.1 s at most", "6 of 48 let in, p95 +0.05 s", "yes")
    efficiency = told["efficiency: CPU of the models in a plain loop over that of the service"]
    assert efficiency == ("≥ 0.4", "0.30 (0.28 to 0.33) with 24 streams", "no")
    assert told["60 minutes of recording, from upload to timeline"] == ("≤ 60 s", "not measured", "-")
    assert told["memory of all processes at rest"] == ("≤ 2.5 GB", "2.30 GB", "yes")


def test_the_worst_of_the_runs_counts() -> None:
    shown = {row[0]: row[2:] for row in aims(held_three_times(at_48={"p95": 0.9})).rows}
    assert shown["48 live streams heard every 0.5 s, p95"] == ("0.90 s", "no")
    assert shown["64 live streams heard every 1.0 s, p95"] == ("0.40 s", "yes")


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"every": 2.0}, "no: heard every 2.00 s"),
        ({"every": 0.5049}, "yes"),
        ({"kept_up": 0.5}, "no: 50.0 % kept up"),
        ({"streams": 40}, "no: 40 let in"),
    ],
)
def test_an_aim_is_met_only_by_those_who_were_heard_as_it_asks(row: dict[str, Any], verdict: str) -> None:
    known = held_three_times(at_48=row)
    assert met(known, "48 live streams") == verdict
    assert met(known, "CPU of all processes") == verdict


def test_the_worst_of_the_runs_is_told_with_what_was_wrong_in_it() -> None:
    """What one run had missed used to stand beside the figure of another."""
    known = held_three_times()
    for run, row in zip(
        known["held"]["runs"], ({"kept_up": 0.5}, {"p95": 0.9}, {"streams": 40, "p95": 0.7}), strict=True
    ):
        run["levels"][1] |= row
    told = {row[0]: row[2:] for row in aims(known).rows}
    assert told["48 live streams heard every 0.5 s, p95"] == ("0.70 s", "no: 40 let in")
    assert told["hops that kept up, 48 and 64 live streams"] == ("100.0 %", "no: 40 let in")


def test_a_cadence_of_a_second_is_aimed_at_with_64_streams() -> None:
    assert met(held_three_times(at_64={"every": 1.0}), "64 live streams") == "yes"
    assert met(held_three_times(at_64={"every": 2.0}), "64 live streams") == "no: heard every 2.00 s"


def test_whoever_was_not_let_in_at_one_level_is_missing_at_the_next() -> None:
    known = held_three_times()
    run = known["held"]["runs"][1]
    run["levels"] = run["levels"][:2]
    run["levels"][1]["streams"] = 40
    assert met(known, "64 live streams") == "no: 40 let in"
    assert met(known, "hops that kept up") == "no: 40 let in"
    assert met(known, "8 live streams") == "yes"


def test_a_hop_that_was_dropped_is_a_miss() -> None:
    known = held_three_times()
    known["held"]["runs"][2]["dropped"] = 3
    assert met(known, "48 live streams") == "no: 3 hops dropped"


def test_what_was_met_for_seconds_or_once_stays_open() -> None:
    assert met(figures(), "48 live streams") == "open: not held for 120 s, 3 times"
    once = held_three_times()
    del once["held"]["runs"][1:]
    assert met(once, "48 live streams") == "open: not held for 120 s, 3 times"
    short = held_three_times()
    short["held"]["seconds"] = 4.0
    assert met(short, "48 live streams") == "open: not held for 120 s, 3 times"


def test_a_quick_run_meets_no_aim() -> None:
    known = figures() | {"quick": True, "batch": {"long": {"minutes": 60, "seconds": 50.0}}}
    known["efficiency"] |= {"efficiency": 0.5, "tries": [0.45, 0.5]}
    for what in ("60 minutes", "efficiency", "memory", "processors at rest", "from `tonetrack up`"):
        assert met(known, what) == "open: a quick run"
        assert met(known | {"quick": False}, what) == "yes"


@pytest.mark.parametrize(("late", "verdict"), [(0.066, "yes"), (0.067, "no")])
def test_a_minute_of_the_fourth_hour_costs_what_one_of_the_first_did(late: float, verdict: str) -> None:
    rows = [{"minute": minute, "cpu": cpu} for minute, cpu in ((4, 0.06), (60, 0.06), (240, late))]
    assert met(figures() | {"hours": {"rows": rows}}, "a minute in the fourth hour") == verdict
    assert met(figures() | {"hours": {"rows": rows[:1]}}, "a minute in the fourth hour") == "-"


def test_figures_of_two_machines_are_never_one_table() -> None:
    with pytest.raises(ValueError, match="of different machines: EPYC, Xeon"):
        markdown([figures(), held_three_times() | {"cpu": "Xeon"}], command.PARTS.values())


def test_what_was_missed_for_seconds_was_missed() -> None:
    known = figures()
    known["capacity"]["rows"][1] |= {"every": 2.0, "kept_up": 0.5, "carried": False}
    assert met(known, "48 live streams") == "no: heard every 2.00 s, 50.0 % kept up"


def test_an_efficiency_of_hops_heard_together_is_none() -> None:
    known = figures()
    known["efficiency"] |= {"efficiency": 0.5, "tries": [0.45, 0.5]}
    assert met(known, "efficiency") == "yes"
    known["efficiency"]["served"]["every"] = 1.0
    assert met(known, "efficiency") == "no: heard every 1.00 s"


def test_an_efficiency_that_one_try_has_and_another_has_not_stays_open() -> None:
    known = figures()
    known["efficiency"] |= {"efficiency": 0.41, "tries": [0.38, 0.41, 0.43]}
    assert met(known, "efficiency") == "open: chance decides"


@pytest.mark.parametrize(
    ("heard", "dropped", "refused", "wrong"),
    [
        ({}, 0, {"busy": 8, "503": 8}, []),
        ({"p95": 0.51}, 0, {}, ["p95 grew by 0.16 s"]),
        ({"kept_up": 0.98}, 0, {}, ["98.0 % kept up"]),
        ({}, 2, {}, ["2 hops dropped"]),
        ({}, 0, {"500": 1}, ["refused by 500"]),
    ],
)
def test_those_who_talk_must_not_notice_who_comes_besides(
    heard: dict[str, Any], dropped: int, refused: dict[str, int], wrong: list[str]
) -> None:
    told = capacity.judged({**HEARD, **heard, "refused": refused}, {"p95": 0.35}, dropped)
    assert (told["undisturbed"], told["wrong"]) == (not wrong, wrong)


def test_a_disorderly_refusal_is_told_in_the_table_and_beside_the_aim() -> None:
    known = held_three_times()
    known["held"]["runs"][1]["refusal"] |= capacity.judged({**HEARD, "refused": {"500": 1}}, {"p95": 0.1}, 0)
    assert met(known, "who comes besides") == "no: p95 grew by 0.30 s, refused by 500"
    told = [row[-1] for row in held.tables(known["held"])[-1].rows]
    assert told == ["undisturbed", "disturbed (p95 grew by 0.30 s; refused by 500)", "undisturbed"]


def test_where_nobody_was_refused_no_refusal_was_orderly() -> None:
    known = held_three_times()
    for run in known["held"]["runs"]:
        run["refusal"] |= {"let_in": 16, "refused": {}}
    assert met(known, "who comes besides") == "open: nobody was refused"


def test_the_readme_tells_of_the_parts_that_were_run_and_of_no_others() -> None:
    known = {name: part for name, part in figures().items() if name != "batch"}
    text = markdown([known], command.PARTS.values())
    assert text.startswith(
        "`make bench` on 2 cores (EPYC), 2026-11-26, commit 26f829a,"
        " load average 0.5, 1.0, 1.5 at the start, 18 minutes."
    )
    assert "| 48 | 0.10 | 0.40 | 0.50 | 0.41 | 100.0 % | 0.50 | yes | 0.0300 | 400 | 20.0 |" in text
    assert "Then 16 came to 56: 2 let in, refused 8 busy, 6 503; meanwhile those who were there had p95 0.40 s" in text
    assert "Batch" not in text


def test_the_readme_tells_where_the_processors_go() -> None:
    text = markdown([{name: part for name, part in figures().items() if name != "batch"}], command.PARTS.values())
    assert "**What 48 live streams heard every 0.50 s take, by process**" in text
    assert "| diariser (observe) | 6.00 | 20.0 |" in text


def test_what_was_asked_for_besides_stands_beside_the_whole() -> None:
    whole = {name: part for name, part in figures().items() if name != "batch"}
    text = markdown([whole, held_three_times(at_48={"p95": 0.79})], command.PARTS.values())
    assert '`make bench ARGS="--only held"` on 2 cores (EPYC)' in text
    assert "| 48 live streams heard every 0.5 s, p95 | ≤ 0.8 s | 0.79 s | yes |" in text
    assert "| 48 | 2 | 0.10 | 0.79 | 0.50 | 0.41 | 100.0 % | 0.50 | 0.0300 | 1.44 |" in text
    assert "Capacity: live streams" in text
