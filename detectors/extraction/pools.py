"""Pools: clients that share something, such as an owner or an address, looked at as if they were one client.

The mean of K honest clients scatters less than that of one, by S_between / K, so what every member does too little
of to be noticed shows in their sum. Clients that share a key may be alike for honest reasons: how much of their
scatter pooling leaves is learned from the pools of the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, IntArray
from detectors.clients.betabinomial import Rate
from detectors.extraction.accounts import pack_text, unpack_text
from detectors.extraction.baseline import Baseline
from detectors.extraction.clients import ClientState
from detectors.extraction.heads import Spread
from detectors.extraction.honest import Honest
from detectors.keys import client_key

MAX_KEYS = 4
MAX_MEMBERS = 200
VALUES_PER_CLIENT = 3.0
USUAL_RETENTION = 0.25
_RETENTIONS = (0.0, 0.1, 0.25, 0.5, 1.0)
_ENOUGH_POOLS = 8


def linking_keys(reference: EventBatch) -> tuple[str, ...]:
    """Segment keys that can tie accounts together: many values, few a client; those with most values first."""
    assert reference.client_id is not None
    clients = {c for c in reference.client_id.tolist() if c}
    found = []
    for name, values in reference.segments.items():
        pairs = {(c, v) for c, v in zip(reference.client_id.tolist(), values.tolist(), strict=True) if c and v}
        held, owned = {c for c, _ in pairs}, {v for _, v in pairs}
        if len(owned) >= max(4, 0.1 * len(clients)) and len(pairs) <= VALUES_PER_CLIENT * len(held):
            found.append((-len(owned), name))
    return tuple(name for _, name in sorted(found)[:MAX_KEYS])


def retention(key: str, reference: EventBatch, clients: Sequence[Honest], baseline: Baseline) -> float:
    """How much of the scatter between honest clients a pool by ``key`` keeps: 0 none, 1 as much as one client."""
    assert reference.client_id is not None
    owner = dict(zip(reference.client_id.tolist(), reference.segments[key].tolist(), strict=True))
    pools: dict[str, list[Honest]] = {}
    for client in clients:
        if owner.get(client.client):
            pools.setdefault(str(owner[client.client]), []).append(client)
    several = [members for members in pools.values() if len(members) > 1]
    if len(several) < _ENOUGH_POOLS:
        return USUAL_RETENTION
    for kept in _RETENTIONS:
        ratios = []
        for members in several:
            n = np.array([len(c.phi) for c in members], dtype=np.float64)
            mean = np.sum([c.phi.sum(axis=0) for c in members], axis=0) / n.sum()
            ratios.append(_pooled_spread(baseline.spread, worth(n, kept)).ratio(mean, float(n.sum())))
        if float(np.quantile(ratios, 0.9)) <= baseline.tails.distance.at(float(np.log(0.1))):
            return kept
    return 1.0


def worth(n: NDArray[Any], kept: float) -> float:
    """How many equal clients, all strangers to one another, scatter as little as clients with ``n`` queries each."""
    total = float(np.sum(n))
    equal = total * total / max(float(np.sum(np.square(n, dtype=np.float64))), 1e-12)
    return 1.0 / (kept + (1.0 - kept) / max(equal, 1.0))


def pooled(baseline: Baseline, k: float) -> Baseline:
    """What the sums of ``k`` honest clients look like."""
    near = baseline.near
    return replace(
        baseline,
        spread=_pooled_spread(baseline.spread, k),
        near=(_pooled_rate(near[0], k), _pooled_rate(near[1], k)),
    )


def _pooled_spread(spread: Spread, k: float) -> Spread:
    return replace(spread, between=spread.between / k, sizes=spread.sizes * k)


def _pooled_rate(rate: Rate, k: float) -> Rate:
    return replace(rate, concentration=rate.concentration * k)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The state of one pool: that of a client, and its members with how many events each sent, largest kept."""

    state: ClientState
    members: Mapping[str, int]

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, crowd: IntArray, at: float) -> Self:
        state = ClientState.load(arrays, crowd, at)
        if not arrays or "members" not in arrays:
            return cls(state, {})
        names = unpack_text(arrays["members"])
        return cls(state, dict(zip(names, arrays["events"].tolist(), strict=True)))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            **self.state.to_arrays(),
            "members": pack_text(tuple(self.members)),
            "events": np.array(list(self.members.values()), dtype=np.int64),
        }

    def met(self, members: Mapping[str, int]) -> Pool:
        """The pool after its members sent that many events more."""
        both = {name: self.members.get(name, 0) + members.get(name, 0) for name in {*self.members, *members}}
        kept = sorted(both.items(), key=lambda item: (-item[1], item[0]))[:MAX_MEMBERS]
        return Pool(self.state, dict(sorted(kept)))


@dataclass(frozen=True, slots=True)
class Links:
    """Which clients of a pane share which value of a key; read from and written to the names of keyed sums."""

    key: str
    value: str

    @property
    def id(self) -> str:
        return f"{self.key}={self.value}"


def link_name(value: str, client: str) -> str:
    """Name of the sum that counts a client's events under a value; keys hold no line break."""
    return f"{client_key(value)}\n{client}"


def links_of(keyed: Mapping[str, Mapping[str, IntArray]], prefix: str) -> dict[Links, dict[str, int]]:
    """Value of a key -> client -> events, from the keyed sums under ``prefix``."""
    out: dict[Links, dict[str, int]] = {}
    for group, sums in keyed.items():
        if group.startswith(prefix):
            for name, count in sums.items():
                value, _, client = name.partition("\n")
                out.setdefault(Links(group[len(prefix) :], value), {})[client] = int(count[0])
    return out
