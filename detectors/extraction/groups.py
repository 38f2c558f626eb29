"""Groups: suspects who belong together, found by the direction in which they deviate, and their incidents.

A group that was found keeps its id while members join: a later find that shares a third of the members of either
is the same group. Groups that nothing was seen of for a month are forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.extraction.accounts import Accounts, pack_text, unpack_text
from detectors.extraction.alignment import (
    LEAST_ACCOUNTS,
    LEAST_QUERIES,
    SIZES,
    Alignment,
    agreements,
    deviations,
    quietened,
)
from detectors.extraction.heads import Spread

MAX_GROUPS = 12
MAX_MEMBERS = 200
GROUPS_A_LOOK = 3
FORGOTTEN_AFTER_S = 30 * 86_400.0
SAME_SHARE = 1.0 / 3.0
ALIGNED = 3.0
"""How many deviations of the other accounts a member lies out along the group's direction."""
CARRIES = 1.5
"""The same of those who carry what accounts that are given have in common."""


@dataclass(frozen=True, slots=True)
class Find:
    """Positions in the table of the accounts of one group, and the natural log of its p-value."""

    members: IntArray
    log_p: float


def find(accounts: Accounts, spread: Spread, alignment: Alignment, n_classes: int) -> list[Find]:
    """The groups that deviate most in one direction, surest first; each account is in one of them at most."""
    left = np.flatnonzero(accounts.fresh >= LEAST_QUERIES)
    n, means = accounts.fresh, accounts.means(n_classes)
    found: list[Find] = []
    if len(left) < LEAST_ACCOUNTS:
        return found
    z = quietened(deviations(means[left], n[left], spread), alignment.usual)
    for _ in range(GROUPS_A_LOOK):
        if len(left) < LEAST_ACCOUNTS:
            break
        one = _closest(z, alignment)
        if one is None:
            break
        found.append(Find(left[one.members], one.log_p))
        kept = ~np.isin(np.arange(len(left)), one.members)
        left, z = left[kept], z[kept]
    return found


def _closest(z: FloatArray, alignment: Alignment) -> Find | None:
    agreement, near = agreements(z)
    largest = np.full(len(SIZES), np.nan)
    some = ~np.isnan(agreement).all(axis=0)
    largest[some] = agreement[:, some].max(axis=0)
    log_p = alignment.log_p(largest, len(z))
    j = int(np.argmin(log_p))
    if log_p[j] >= 0:
        return None
    seed = int(np.argmax(agreement[:, j]))
    members = _aligned(z, near[seed, : SIZES[j]])
    return Find(members, min(0.0, float(log_p[j] + np.log(len(SIZES)))))


def _aligned(z: FloatArray, core: IntArray) -> IntArray:
    """All accounts that lie out along what the core has in common; the core's best always."""
    place = _along(z, core)
    members = np.flatnonzero(place >= ALIGNED)
    return members if len(members) >= 3 else core[np.argsort(-place[core])[: max(3, len(core) // 2)]]


def carriers(z: FloatArray, some: IntArray) -> IntArray:
    """Those of ``some`` accounts, positions among (k, d) deviations ``z``, who carry what these have in common."""
    return some[_along(z, some)[some] >= CARRIES]


def _along(z: FloatArray, core: IntArray) -> FloatArray:
    """(k,) how far accounts lie out along what the core has in common, in deviations of those outside of it.

    None counts for itself.
    """
    inside = np.isin(np.arange(len(z)), core)
    total = z[core].sum(axis=0)
    rest = total - z * inside[:, None]
    place = np.sum(z * rest, axis=1) / np.maximum(np.linalg.norm(rest, axis=1), 1e-12)
    low, high = np.quantile(place[~inside], [0.1, 0.9])
    return np.asarray(place / max(1.0, -float(low) / 1.2816, float(high) / 1.2816))


@dataclass(frozen=True, slots=True)
class Group:
    """An incident of some clients together: status 1 warning, 2 alarm."""

    id: str
    members: tuple[str, ...]
    status: int
    since: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups that are known; at most ``MAX_GROUPS``, those seen last."""

    known: tuple[Group, ...] = ()

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        if not arrays:
            return cls()
        lines = [line.split("\t") for line in unpack_text(arrays["names"])]
        return cls(
            tuple(
                Group(id_, tuple(members), int(status), since, seen_at)
                for (id_, *members), (status, since, seen_at) in zip(lines, arrays["state"].tolist(), strict=True)
            )
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        lines = ["\t".join((group.id, *group.members)) for group in self.known]
        state = [(group.status, group.since, group.seen_at) for group in self.known]
        return {"names": pack_text(lines), "state": np.array(state, dtype=np.float64).reshape(-1, 3)}

    def same_as(self, members: Sequence[str]) -> Group | None:
        """The known group that shares most with these members, if that is a third of the smaller of the two."""
        shared = [(len(set(group.members) & set(members)), group) for group in self.known]
        enough = [(n, g) for n, g in shared if n >= max(1.0, SAME_SHARE * min(len(g.members), len(members)))]
        return max(enough, key=lambda item: (item[0], -item[1].since, item[1].id))[1] if enough else None

    def met(self, members: Sequence[str], status: int, since: float, at: float) -> tuple[Groups, Group]:
        """The groups after one was found, and that one: a new one, or a known one whose members have joined."""
        known = self.same_as(members)
        if known is None:
            everyone = tuple(sorted(members)[:MAX_MEMBERS])
            group = Group(group_id(everyone, at), everyone, status, since, at)
        else:
            newest = [*sorted(members), *(m for m in known.members if m not in set(members))][:MAX_MEMBERS]
            group = replace(known, members=tuple(sorted(newest)), status=status, seen_at=at)
        return self._with(group, at), group

    def _with(self, group: Group, at: float) -> Groups:
        others = [g for g in self.known if g.id != group.id and at - g.seen_at < FORGOTTEN_AFTER_S]
        kept = sorted([group, *others], key=lambda g: (-g.seen_at, g.id))[:MAX_GROUPS]
        return Groups(tuple(kept))

    def is_open(self, at: float, within_s: float) -> bool:
        """Whether a group raised an alarm of late."""
        return any(group.status == 2 and at - group.seen_at <= within_s for group in self.known)


def group_id(members: Sequence[str], at: float) -> str:
    """A name for a new group that a replay gives again."""
    digest = hashlib.blake2b("\n".join([f"{at:.0f}", *members]).encode(), digest_size=5)
    return f"group-{digest.hexdigest()}"
