"""The arithmetic of the benchmarks: what the figures in a report mean, apart from how they are taken."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

MOST_SECONDS: Final = 1.5  # from a hop's last sample to its event, before whoever talks has waited for too long
LEAST_KEPT_UP: Final = 0.99  # share of hops that are heard in that time, below which a machine is called full

MOST_DISTURBED: Final = 0.1  # s that p95 of those who talk may grow by while others come
ORDERLY: Final = {"busy", "503"}  # how one may be refused: as a recorder comes, or as a session is opened

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """A hop as it was heard: its last sample was sent, had arrived, and its event was published, in Unix time.

    `together`: how many hops were heard at once.
    """

    sent_at: float
    arrived_at: float
    published_at: float
    together: int = 1

    @property
    def lag(self) -> float:
        """Seconds from the arrival of the last sample to the event."""
        return self.published_at - self.arrived_at


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of some seconds: half, 95 % and 99 % of them are at most that."""

    p50: float
    p95: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Percentiles:
        """Interpolated linearly between neighbours. Raises `ValueError` where there is nothing to rank."""
        ranked = np.fromiter(seconds, float)
        if not ranked.size:
            raise ValueError("Nothing was heard, so there are no percentiles; the service's log may say why.")
        p50, p95, p99 = (float(rank) for rank in np.percentile(ranked, (50, 95, 99)))
        return cls(p50, p95, p99, ranked.size)


def kept_up(sent: int, heard: Iterable[Heard], most: float = MOST_SECONDS) -> float:
    """The share of so many hops that were heard within `most` seconds of being sent, on whatever way they were."""
    in_time = sum(hop.published_at - hop.sent_at <= most for hop in heard)
    return in_time / sent if sent else 1.0


def carried(p95: float, share: float, dropped: int) -> bool:
    """Whether a machine carries a load: few wait for long, hardly any for too long, and nothing was lost."""
    return p95 <= MOST_SECONDS and share >= LEAST_KEPT_UP and dropped == 0


def disturbed(heard: Figures, before: Figures, refused: Collection[str], dropped: int) -> list[str]:
    """What is wrong with how those who talked were heard while others came, and with how the others were refused."""
    grown = heard["p95"] - before["p95"]
    return [
        *([f"{100 * heard['kept_up']:.1f} % kept up"] if heard["kept_up"] < LEAST_KEPT_UP else []),
        *([f"{dropped} hops dropped"] if dropped else []),
        *([f"p95 grew by {grown:.2f} s"] if grown > MOST_DISTURBED else []),
        *(f"refused by {how}" for how in sorted(set(refused) - ORDERLY)),
    ]


def growth(amounts: Sequence[float], taken: Sequence[float]) -> float:
    """What each further unit of an amount takes: the slope of the least-squares line. Raises `ValueError` for one."""
    if len(set(amounts)) < 2:
        raise ValueError("Growth needs figures at two amounts or more.")
    return float(np.polyfit(amounts, taken, 1)[0])


def shares(taken: dict[str, float]) -> dict[str, float]:
    """Each part's share of all that was taken, the largest first."""
    whole = sum(taken.values())
    return {name: part / whole if whole else 0.0 for name, part in sorted(taken.items(), key=lambda item: -item[1])}
