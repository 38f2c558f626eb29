"""How much is measured, and on which worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.benchmarks.extraction.attacks import ATTACKS
from tests.benchmarks.extraction.flights import Flights
from tests.benchmarks.extraction.images import Digits, Mnist
from tests.benchmarks.extraction.tumours import Tumours
from tests.benchmarks.extraction.worlds import World

WORLDS: dict[str, Callable[[int], World]] = {
    "digits": Digits,
    "mnist": Mnist,
    "flights": Flights,
    "tumours": Tumours,
}
MAIN = "scores"
"""The visibility that is measured with most clients and thieves, and beside the baselines."""


@dataclass(frozen=True)
class Plan:
    """Sizes of everything.

    Attributes:
        honest, thieves: clients a world, and thieves a cell (attack and share), at the main visibility.
        honest_aside, thieves_aside: the same at the other visibilities.
        reference: clients in a reference; references: independent references a world, each with its part of the rest.
        crowd: honest clients a deployment; beside: honest clients among whom a thief is judged.
        learning: honest clients and thieves an attack that the supervised reference and the baselines learn from.
        campaigned, campaigns: attacks split over Sybil accounts, and campaigns of each; among: in crowds of so many.
        quiet: crowds without any thief, as (honest clients, crowds), in which no group may be named.
        walks: evasion walks of each kind.
        volumes: queries after which the exposure meter is read, ascending; metered: clients of each kind that it reads.
        days: that known honest clients are queried again; taken: known keys that a thief takes over.
    """

    worlds: tuple[str, ...]
    visibilities: tuple[str, ...]
    attacks: tuple[str, ...]
    shares: tuple[float, ...]
    honest: int
    thieves: int
    honest_aside: int
    thieves_aside: int
    reference: int = 100
    references: int = 2
    crowd: int = 100
    beside: int = 40
    learning: tuple[int, int] = (120, 6)
    campaigned: tuple[str, ...] = ("knockoff random", "grid", "near domain", "shuffled", "jbda .1", "uncertainty")
    campaigns: int = 4
    among: tuple[int, ...] = (40, 100, 400)
    quiet: tuple[tuple[int, int], ...] = ((40, 60), (100, 25), (400, 8))
    walks: int = 10
    volumes: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1_600)
    metered: int = 2
    days: int = 25
    taken: int = 12


FULL = Plan(
    ("mnist", "flights", "digits"), ("scores", "all", "label"), tuple(ATTACKS), (1.0, 0.5, 0.25, 0.1), 1_800, 16, 300, 6
)
QUICK = Plan(
    ("digits", "flights"),
    ("scores",),
    ("knockoff random", "grid", "jbda .1", "uncertainty", "in domain"),
    (1.0, 0.25),
    100,
    3,
    100,
    3,
    reference=60,
    references=1,
    beside=30,
    learning=(40, 3),
    campaigned=("knockoff random", "jbda .1"),
    campaigns=1,
    among=(40, 100),
    quiet=((40, 6),),
    walks=2,
    volumes=(50, 200),
    metered=1,
    days=1,
    taken=4,
)


@cache
def world_of(name: str, seed: int) -> World:
    return WORLDS[name](seed)
