"""Tempo (head H8): when one client asks, and how evenly; told beside a reading, never evidence by itself.

All of it follows from how many events each pane of event time held, so nothing is added to a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

DAY_S = 86_400.0
NIGHT = range(6)
"""Hours of UTC counted as night."""
MIN_PANES = 10
_FIGURES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Tempo:
    """Sums over the panes in which a client was active.

    Attributes:
        hours: (24,) events by hour of the day, UTC.
        figures: active panes, events, sum of squared events a pane, start of the last active pane, number of gaps
            between active panes, their sum and sum of squares in seconds, and events that the model could not read.
    """

    hours: FloatArray
    figures: FloatArray

    @classmethod
    def new(cls) -> Self:
        return cls(np.zeros(24), np.zeros(_FIGURES))

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        """The stored sums; new ones where there are none."""
        if not arrays or "tempo" not in arrays:
            return cls.new()
        return cls(arrays["hours"], arrays["tempo"])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"hours": self.hours, "tempo": self.figures}

    def after(self, events: int, unread: int, at: float) -> Tempo:
        """The sums with a pane of ``events`` events folded in; a pane may come late."""
        hours, figures = self.hours.copy(), self.figures.copy()
        hours[int(at % DAY_S // 3_600.0)] += events
        gap = at - figures[3]
        if figures[0] and gap > 0:
            figures[4:7] += (1.0, gap, gap * gap)
        figures[3] = max(figures[3], at) if figures[0] else at
        figures[:3] += (1.0, events, events * events)
        figures[7] += unread
        return replace(self, hours=hours, figures=figures)

    @property
    def night_share(self) -> float:
        """Share of events between 0 and 6 h UTC."""
        return float(self.hours[list(NIGHT)].sum() / max(1.0, float(self.hours.sum())))

    @property
    def burst(self) -> float | None:
        """Variance of events a pane over their mean: 1 for chance, 0 for clockwork; None for a few panes."""
        panes, events, squares = self.figures[:3].tolist()
        if panes < MIN_PANES or events <= 0:
            return None
        mean = events / panes
        return float(max(0.0, squares / panes - mean * mean) / mean)

    @property
    def irregularity(self) -> float | None:
        """Deviation of the gaps between active panes over their mean: 1 for chance, 0 for clockwork."""
        gaps, total, squares = self.figures[4:7].tolist()
        if gaps < MIN_PANES or total <= 0:
            return None
        mean = total / gaps
        return float(np.sqrt(max(0.0, squares / gaps - mean * mean)) / mean)

    @property
    def unread_share(self) -> float:
        """Share of events that held nothing to compare by, such as requests the model refused."""
        return float(self.figures[7] / max(1.0, float(self.figures[1])))

    def facts(self, crowd: Tempo) -> list[dict[str, Any]]:
        """JSON-ready lines beside what all clients together do."""
        lines = [
            _line("night share", f"{self.night_share:.0%} of its events come between 0 and 6 h UTC", self.night_share),
            _line("unread share", f"{self.unread_share:.0%} of its events could not be read", self.unread_share),
        ]
        lines[0]["peers"], lines[1]["peers"] = crowd.night_share, crowd.unread_share
        if self.burst is not None:
            how = "in bursts" if self.burst > 5 else "evenly" if self.burst < 0.5 else "as chance would have it"
            lines.append(_line("burst ratio", f"it asks {how}: variance over mean of its panes", self.burst))
        if self.irregularity is not None and self.irregularity < 0.2:
            mean_s = float(self.figures[5] / self.figures[4])
            lines.append(_line("clockwork", f"it asks every {mean_s:.0f} s, like a machine", self.irregularity))
        return lines


def _line(name: str, words: str, client: float) -> dict[str, Any]:
    return {"name": name, "words": words, "client": round(client, 4)}
