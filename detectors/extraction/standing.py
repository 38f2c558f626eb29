"""Standing: what all clients of a model share between two panes, and what was done in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import led, under
from detectors.base import Arrays
from detectors.batch import IntArray
from detectors.budget import WEEK_S
from detectors.extraction.accounts import LOOK_QUERIES, LOOK_S, Accounts
from detectors.extraction.clients import DAY_S, ClientState
from detectors.extraction.groups import Groups
from detectors.extraction.layout import COUNTS
from detectors.extraction.looks import Look
from detectors.extraction.peers import Peers
from detectors.extraction.recalibration import Recent
from detectors.extraction.telling import Exposed
from detectors.extraction.tempo import Tempo
from detectors.extraction.verdict import LogP

_UNSEEN = COUNTS.index("unseen")


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What all clients of a model share: peers of today, active accounts, known groups, the most exposed, tempo."""

    peers: Peers
    accounts: Accounts
    groups: Groups
    recent: Recent
    exposed: Exposed
    tempo: Tempo

    @classmethod
    def load(cls, arrays: Arrays | None, width: int) -> Self:
        arrays = arrays or {}
        return cls(
            Peers.load(under("peers", arrays), width),
            Accounts.load(under("accounts", arrays), width),
            Groups.load(under("groups", arrays)),
            Recent.load(under("recent", arrays)),
            Exposed.load(under("exposed", arrays)),
            Tempo.load(under("tempo", arrays)),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            **led("peers", self.peers.to_arrays()),
            **led("accounts", self.accounts.to_arrays()),
            **led("groups", self.groups.to_arrays()),
            **led("recent", self.recent.to_arrays()),
            **led("exposed", self.exposed.to_arrays()),
            **led("tempo", self.tempo.to_arrays()),
        }


@dataclass(frozen=True, slots=True)
class Tally:
    """What was done in a pane.

    Attributes:
        first_at: when each client was first seen. under_alarm: clients that were when the pane began.
        new_days: clients active for the first time on this day of event time.
        seen: logs of the p-values of each client looked at, by the reference's tail; not of those under alarm.
        highest: largest evidence that is not spoken of. looked: clients looked at.
    """

    first_at: Mapping[str, float]
    under_alarm: frozenset[str]
    new_days: int
    seen: Mapping[str, LogP]
    highest: float = 0.0
    looked: int = 0

    @classmethod
    def of(cls, states: Mapping[str, ClientState], at: float) -> Self:
        """The tally before anybody was looked at."""
        return cls(
            {client: state.first_at for client, state in states.items()},
            frozenset(client for client, state in states.items() if state.status == 2),
            sum(state.day < at // DAY_S for state in states.values()),
            {},
        )

    def saw(self, client: str, state: ClientState, seen: Look | None) -> Tally:
        """The tally after a client was judged."""
        if seen is None or seen.log_p is None:
            return self
        return replace(
            self,
            seen=self.seen if state.status == 2 else {**self.seen, client: seen.log_p},
            highest=max(self.highest, float(state.evidence) if state.status == 0 else 0.0),
            looked=self.looked + 1,
        )


def events_of(sums: Iterable[IntArray]) -> tuple[int, int]:
    """Events and unseen events of these clients' sums."""
    pairs = [(int(v[0]), int(v[_UNSEEN])) for v in sums]
    return sum(n for n, _ in pairs), sum(u for _, u in pairs)


def looks_per_week(events_per_week: float, pane_s: float) -> float:
    """How often groups are looked for at most: every hour, and whenever five hundred queries came, once a pane."""
    return float(np.clip(WEEK_S / LOOK_S + events_per_week / LOOK_QUERIES, 1.0, WEEK_S / pane_s))
