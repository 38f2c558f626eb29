"""Looks: one look at somebody's sums, a client's or a pool's, and what it changes in their standing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from detectors.batch import IntArray
from detectors.extraction.baseline import Baseline
from detectors.extraction.clients import ClientState
from detectors.extraction.history import History
from detectors.extraction.layout import unpack
from detectors.extraction.peers import Company
from detectors.extraction.selfhistory import Itself
from detectors.extraction.verdict import MIN_EFFECT, Beside, Finding, LogP, examine

SINCE_FIRST, SINCE_LAST = "since first seen", "since the last look"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What somebody is judged by: honest clients, the company of today, the own past, and where the alarm lies.

    ``baseline`` is today's, ``plain`` what the reference taught, ``running`` the running sum of the crowd (``Peers``);
    ``itself`` holds ``client`` to its own past, ``beside`` is what other heads say of it.
    """

    baseline: Baseline
    plain: Baseline
    company: Company
    own: History | None
    running: IntArray
    n_labels: int
    log_threshold: float
    itself: Itself | None = None
    client: str = ""
    beside: Beside = field(default_factory=Beside)

    def examined(self, sums: IntArray, before: IntArray, by: Baseline | None = None) -> Finding:
        """A look at these sums, beside the crowd over a window that began when it was ``before``."""
        company = self.company.during(unpack(self.running - before, self.n_labels))
        return examine(
            unpack(sums, self.n_labels),
            by or self.baseline,
            company,
            self.own,
            self.itself,
            self.client,
            self.beside,
        )

    def plainly(self, finding: Finding, sums: IntArray, before: IntArray) -> LogP:
        """The logs of the p-values of a finding by what the reference taught alone."""
        if self.baseline is self.plain:
            return finding.log_p
        return self.examined(sums, before, self.plain).log_p


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen in which window, and the level to report: 0 nothing, 1 warning, 2 alarm.

    ``log_p`` are the logs of the p-values by what the reference taught alone; None where no look was due.
    """

    finding: Finding
    window: str
    level: int
    log_p: LogP | None = None


def look(state: ClientState, bench: Bench, end: float) -> tuple[ClientState, Look | None]:
    """Look at whichever window is due; under alarm there is always something to report."""
    total, block = state.total_due, state.block_due
    if not total and not block:
        return state, Look(bench.examined(*_total(state)), SINCE_FIRST, 2) if state.status == 2 else None
    found: list[tuple[Finding, str, float]] = []
    if total:
        found.append((bench.examined(*_total(state)), SINCE_FIRST, state.first_at))
    if block:
        found.append((bench.examined(*_block(state)), SINCE_LAST, state.block_at))
    limit = bench.log_threshold
    finding, window, since = max(found, key=lambda item: (rank(item[0], limit), item[0].stolen, item[0].odd))
    status = rank(finding, limit)
    if state.status == 2 and status < 2:
        finding, window, since = found[-1]
        status = 2 if _lingers(finding) else 0
    shown = max(finding.stolen, min(finding.odd, 0.99 * limit)) if status < 2 else finding.stolen
    after = replace(
        state.looked(total, block, bench.running, end),
        status=status,
        evidence=max(shown, state.evidence) if status == 2 and state.status == 2 else shown,
        since=state.since if state.status and status else since,
    )
    seen = _total(state) if window == SINCE_FIRST else _block(state)
    return after, Look(finding, window, status, bench.plainly(finding, *seen))


def _total(state: ClientState) -> tuple[IntArray, IntArray]:
    """Sums, and the crowd at the beginning, of the window since first seen."""
    return state.total, state.crowd_at_first


def _block(state: ClientState) -> tuple[IntArray, IntArray]:
    return state.block, state.crowd_at_block


def rank(finding: Finding, log_threshold: float) -> int:
    """0 nothing, 1 warning, 2 alarm."""
    if finding.stolen >= log_threshold and finding.effect >= MIN_EFFECT:
        return 2
    return 1 if max(finding.stolen, finding.odd) >= log_threshold else 0


def _lingers(finding: Finding) -> bool:
    """Whether a window of somebody under alarm is still odd enough to keep the alarm open."""
    return finding.effect >= 0.5 * MIN_EFFECT and min(finding.log_p) <= float(np.log(0.01))
