"""Collusion: what clients do together, looked at beside what each does alone.

Three sorts of groups: clients that share the value of a declared key (pools), accounts that deviate in one and the
same direction (groups), and all accounts younger than a week (the cohort), named by who carries what was found where
that is clear. Each is one incident with its members.
The two-step rule holds here as well: a group is called thieves only when its strange or nearly repeated queries agree
(those of accounts that were chosen for going the same way count for less, as the oddest of a crowd would), and when it
is less than half of the accounts, since a direction that most go is a drift of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.base import Arrays, Reading, Subject, SubjectType
from detectors.batch import IntArray
from detectors.extraction.accounts import Accounts
from detectors.extraction.alignment import LEAST_QUERIES, Alignment, deviations, quietened
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import Channels
from detectors.extraction.group_words import Gathering, group_reading
from detectors.extraction.groups import Groups, carriers, find
from detectors.extraction.layout import Sums
from detectors.extraction.looks import Bench, look
from detectors.extraction.peers import Company
from detectors.extraction.pools import USUAL_RETENTION, Links, Pool, pooled, worth
from detectors.extraction.verdict import DRIFT_SPREAD, MIN_EFFECT, Finding, examine

LINK = "link/"
"""Keyed sums whose names start so count the events of each client under each value of a linking key."""
NEW_FOR_S = 7 * 86_400.0
LEAST_NEWCOMERS = 5
NEWCOMERS = "new accounts"
STRANGERS = 0.0
AGREEMENT = -float(np.log(2e-4))
"""Evidence of theft from which a group is accused; more than of a client, since its members were chosen among many."""
CHOSEN_SPREAD = 5.0
"""``DRIFT_SPREAD`` of accounts that were chosen for going farthest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """-ln of the chance of a false alarm: per pool and life, and per look for groups."""

    pool: float
    group: float


@dataclass(frozen=True, slots=True, eq=False)
class Collusion:
    """The judge of groups; ``retention`` holds the linking keys, see ``pools.retention``."""

    baseline: Baseline
    alignment: Alignment | None
    channels: Channels
    retention: Mapping[str, float]
    limits: Limits

    def pools(
        self,
        evidence: Mapping[Subject, Arrays],
        links: Mapping[Links, Mapping[str, int]],
        scene: Scene,
    ) -> tuple[dict[Subject, Arrays], list[Reading]]:
        """Fold the pane into the pools of its clients and look at those that are due."""
        kept: dict[Subject, Arrays] = {}
        readings: list[Reading] = []
        for link in sorted(links, key=lambda item: item.id):
            subject = Subject(SubjectType.CLIENT_GROUP, link.id)
            pool = Pool.load(evidence.get(subject), scene.crowd, scene.start).met(links[link])
            pool, reading = self._pool(link, pool, links[link], scene)
            kept[subject] = pool.to_arrays()
            readings += [] if reading is None else [reading]
        return kept, readings

    def _pool(self, link: Links, pool: Pool, now: Mapping[str, int], scene: Scene) -> tuple[Pool, Reading | None]:
        added = scene.share_of(now, scene.added)
        state = pool.state.after(added, scene.share_of(now, scene.counted), scene.crowd, scene.start)
        if len(pool.members) < 2:
            return replace(pool, state=state), None
        n = np.array(list(pool.members.values()), dtype=np.float64)
        baseline = pooled(self.baseline, worth(n, self.retention.get(link.key, USUAL_RETENTION)))
        bench = Bench(
            baseline, baseline, scene.strangers(), None, scene.running, len(self.channels.labels), self.limits.pool
        )
        before = state.status
        state, seen = look(state, bench, scene.end)
        pool = replace(pool, state=state)
        if seen is None or (seen.level == 0 and before == 0):
            return pool, None
        gathering = Gathering(link.id, tuple(pool.members), f"they share {link.id}", state.since, seen.level)
        accused = [m for m in pool.members if m in scene.accused]
        return pool, group_reading(
            gathering, seen.finding, float(state.evidence), self.limits.pool, self.channels, baseline, accused, []
        )

    def groups(
        self, accounts: Accounts, known: Groups, links: Mapping[Links, Mapping[str, int]], scene: Scene
    ) -> tuple[Groups, list[Reading]]:
        """Look for groups among the accounts active of late."""
        readings: list[Reading] = []
        n_classes = len(self.channels.labels) + 1
        finds = find(accounts, self.baseline.spread, self.alignment, n_classes) if self.alignment is not None else []
        for one in finds:
            if -one.log_p < self.limits.group:
                continue
            finding, baseline = self._together(accounts, one.members, STRANGERS, CHOSEN_SPREAD)
            agreed = finding.stolen >= AGREEMENT and finding.effect >= MIN_EFFECT
            minor = 2 * len(one.members) < int((accounts.fresh >= LEAST_QUERIES).sum())
            status = 2 if agreed and minor else 1
            names = [accounts.names[i] for i in one.members.tolist()]
            known, group = known.met(names, status, float(accounts.first_at[one.members].min()), scene.end)
            link = _shared(links, names)
            members = group.members if link is None else tuple(sorted({*group.members, *links[link]}))
            tie = _tie(link, minor)
            gathering = Gathering(group.id if link is None else link.id, members, tie, group.since, status)
            accused = [m for m in group.members if m in scene.accused]
            who = _strange(accounts, one.members)
            readings.append(
                group_reading(gathering, finding, -one.log_p, self.limits.group, self.channels, baseline, accused, who)
            )
        return known, readings

    def cohort(self, accounts: Accounts, scene: Scene) -> Reading | None:
        """Look at all young accounts together; the reference's own clients and a crowd of newcomers are not young."""
        usable = accounts.fresh >= LEAST_QUERIES
        known = np.array([name in self.baseline.known for name in accounts.names], dtype=bool)
        young = np.flatnonzero(usable & ~known & (accounts.first_at > scene.end - NEW_FOR_S))
        if len(young) < LEAST_NEWCOMERS or 2 * len(young) > usable.sum():
            return None
        finding, baseline = self._together(accounts, young, USUAL_RETENTION, DRIFT_SPREAD)
        status = self._status(finding)
        if status == 0:
            return None
        evidence = finding.stolen if status == 2 else min(finding.odd, 0.99 * self.limits.group)
        young, finding, baseline = self._narrowed(accounts, np.flatnonzero(usable), young, finding, baseline)
        names = tuple(sorted(accounts.names[i] for i in young.tolist()))
        since = float(accounts.first_at[young].min())
        gathering = Gathering(NEWCOMERS, names, "all are younger than a week", since, status)
        return group_reading(
            gathering, finding, evidence, self.limits.group, self.channels, baseline, [], _strange(accounts, young)
        )

    def _status(self, finding: Finding) -> int:
        """0 nothing, 1 warning, 2 alarm."""
        if finding.stolen >= self.limits.group and finding.effect >= MIN_EFFECT:
            return 2
        return int(max(finding.stolen, finding.odd) >= self.limits.group)

    def _narrowed(
        self, accounts: Accounts, usable: IntArray, young: IntArray, finding: Finding, baseline: Baseline
    ) -> tuple[IntArray, Finding, Baseline]:
        """The young accounts who carry what was found, if they alone show as much and the rest of them nothing."""
        if self.alignment is None:
            return young, finding, baseline
        means, n = accounts.means(len(self.channels.labels) + 1)[usable], accounts.fresh[usable]
        z = quietened(deviations(means, n, self.baseline.spread), self.alignment.usual)
        some = usable[carriers(z, np.searchsorted(usable, young))]
        others = np.setdiff1d(young, some)
        if len(some) < 2 or not len(others):
            return young, finding, baseline
        theirs, like = self._together(accounts, some, USUAL_RETENTION, DRIFT_SPREAD)
        rest, _ = self._together(accounts, others, USUAL_RETENTION, DRIFT_SPREAD)
        if self._status(theirs) < self._status(finding) or self._status(rest) > 0:
            return young, finding, baseline
        return some, theirs, like

    def _together(self, accounts: Accounts, members: IntArray, kept: float, spread: float) -> tuple[Finding, Baseline]:
        """The members as one client beside all other accounts; ``spread`` as ``drift_spread`` of ``examine``."""
        n_classes = len(self.channels.labels) + 1
        others = np.setdiff1d(np.flatnonzero(accounts.fresh > 0), members)
        company = Company(np.empty((0, accounts.sums.shape[1])), n_classes, accounts.together(others, n_classes))
        baseline = pooled(self.baseline, worth(accounts.fresh[members], kept))
        return examine(accounts.together(members, n_classes), baseline, company, drift_spread=spread), baseline


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A pane as groups see it: what clients without an alarm added, and the crowd before and after."""

    start: float
    end: float
    added: Mapping[str, IntArray]
    counted: Mapping[str, IntArray]
    events: Mapping[str, int]
    crowd: IntArray
    running: IntArray
    accused: set[str]
    n_classes: int

    def share_of(self, links: Mapping[str, int], sums: Mapping[str, IntArray]) -> IntArray:
        """What the clients of a link added under it; a client with several values is divided by its events."""
        total = np.zeros_like(self.crowd)
        for client, n in links.items():
            if client in sums:
                part = min(1.0, n / max(1, self.events[client]))
                total += sums[client] if part == 1.0 else np.rint(sums[client] * part).astype(np.int64)
        return total

    def strangers(self) -> Company:
        """Company of which only the sums over the same window are known."""
        return Company(np.empty((0, len(self.crowd))), self.n_classes)


def _shared(links: Mapping[Links, Mapping[str, int]], names: Sequence[str]) -> Links | None:
    """The value of a declared key that most members of a group share, and hardly anybody else."""
    counts = [
        (len(set(names) & set(clients)), link.id, link)
        for link, clients in links.items()
        if len(set(clients) - set(names)) <= len(names) // 2
    ]
    n, _, most = max(counts, default=(0, "", None), key=lambda item: item[:2])
    return most if n >= max(2, len(names) / 2) else None


def _tie(link: Links | None, minor: bool) -> str:
    """What the members of a group have in common, in words."""
    if not minor:
        return "half of all accounts or more go this way, as in a drift of the model"
    if link is not None:
        return f"they share {link.id}, and deviate from other accounts in the same way"
    return "they share no declared key, but deviate from other accounts in the same way"


def _strange(accounts: Accounts, members: IntArray) -> list[dict[str, object]]:
    """JSON-ready queries of each member of late, those with most strange ones first."""
    rows = [Sums(accounts.sums[i], 1) for i in members.tolist()]
    listed = [
        {"client": accounts.names[i], "n": round(s.count("events")), "n_strange": round(s.count("strange"))}
        for i, s in zip(members.tolist(), rows, strict=True)
    ]
    return sorted(listed, key=lambda item: (-int(str(item["n_strange"])), str(item["client"])))[:50]
