"""One world, from its references to figures and goals."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from tests.benchmarks.extraction import cost, evasion, exposure, honest, rates, sybil, tables
from tests.benchmarks.extraction.compare import Others
from tests.benchmarks.extraction.figures import Section
from tests.benchmarks.extraction.plan import MAIN, Plan, world_of
from tests.benchmarks.extraction.rates import Accused, Deployment, Found
from tests.benchmarks.extraction.traffic import Traffic

SECTIONS = ("honest", "drift", "found", "others", "sybil", "evasion", "exposure", "cost")
"""``others`` is played on the clients of ``honest`` and the thieves of ``found``."""
DRIFTING = (6, 20, 60)
"""Clients of deployments in which everybody's inputs change together."""


def measure(name: str, plan: Plan, sections: tuple[str, ...], seed: int) -> Section:
    """Every chosen section on one world, told on standard error as it goes."""
    with threadpool_limits(1):
        return _World(name, plan, sections, seed).measured()


class _World:
    """The course of one world's measurement."""

    def __init__(self, name: str, plan: Plan, sections: tuple[str, ...], seed: int) -> None:
        self._began = time.process_time()
        self._name, self._plan, self._sections, self._seed = name, plan, sections, seed
        self._world = world_of(name, seed)
        self._accused, self._found = Accused(), list[Found]()
        self._others: Others | None = None

    def measured(self) -> Section:
        deployments = [self._deployed(number) for number in range(self._plan.references)]
        out = Section()
        if "honest" in self._sections:
            out += self._told("honest", tables.honest_section(self._world, self._accused))
        if "drift" in self._sections:
            out += self._told("drift", tables.drift_section(*self._drifting(deployments)))
        if "found" in self._sections:
            out += self._told("found", tables.found_section(self._world, self._found))
        if self._others is not None:
            rate = max(self._accused.share(MAIN).value, tables.HONEST_GOAL)
            out += self._told("others", tables.others_section(self._others, self._found, rate))
        separate: dict[str, Callable[[], Section]] = {
            "sybil": lambda: sybil.section(deployments, self._plan, self._seed),
            "evasion": lambda: evasion.section(self._world, self._plan, self._seed),
            "exposure": lambda: exposure.section(deployments[0], self._plan, self._seed),
            "cost": lambda: cost.section(deployments[0], self._plan.crowd, self._seed),
        }
        for name, section in separate.items():
            if name in self._sections:
                out += self._told(name, section())
        return out

    def _deployed(self, number: int) -> Deployment:
        """A reference, its honest clients and its thieves, seen by everybody."""
        plan, seed = self._plan, self._seed
        deployment = Deployment.of(self._world, plan, number, seed, plan.visibilities)
        self._tell(f"reference {number + 1} of {plan.references} fitted")
        if self._others is None and {"others", "honest", "found"} <= set(self._sections):
            self._others = Others.on(self._world, plan, tuple(deployment.watches), seed)
            self._tell("others fitted")
        if "honest" in self._sections:
            for traffic, visibilities in rates.crowds(plan, deployment, seed):
                rates.judge_honest(deployment, traffic, visibilities, self._accused)
                if self._others is not None:
                    self._others.note_honest(traffic, visibilities)
            self._tell(f"honest clients of reference {number + 1} played")
        if "found" in self._sections:
            self._found += rates.find_thieves(deployment, plan, seed, self._note_thief)
            self._tell(f"thieves of reference {number + 1} played")
        return deployment

    def _note_thief(self, attack: str, share: float, traffic: Traffic, visibilities: tuple[str, ...]) -> None:
        if self._others is not None:
            self._others.note_thief(attack, share, traffic, visibilities)

    def _drifting(self, deployments: list[Deployment]) -> tuple[str, Accused]:
        """Crowds of several sizes, all of whose inputs change together half way."""
        accused = Accused()
        for deployment in deployments:
            for size in DRIFTING:
                crowd = honest.crowd(self._world, size, (self._seed, deployment.number, size, 13))
                moved = rates.drifted(self._world, crowd)
                rates.judge_honest(deployment, moved, tuple(deployment.watches)[:1], accused)
        return self._name, accused

    def _told(self, what: str, section: Section) -> Section:
        self._tell(f"{what}: {sum(not g.holds for g in section.goals)} of {len(section.goals)} goals missed")
        return section

    def _tell(self, text: str) -> None:
        print(f"{time.process_time() - self._began:7.1f} s of CPU  {self._name}: {text}", file=sys.stderr, flush=True)
