"""Learning: a reference as the detector's part of it, and which segment keys tie accounts together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detectors.arrays import led
from detectors.base import Part, Unfit
from detectors.batch import EventBatch
from detectors.budget import WEEK_S
from detectors.clients.spending import clients_per_week
from detectors.extraction.alignment import Alignment
from detectors.extraction.fitting import fit
from detectors.extraction.identity import By, Identity
from detectors.extraction.pools import linking_keys, retention
from detectors.extraction.tempo import DAY_S
from detectors.schema import Schema


@dataclass(frozen=True, slots=True)
class ExtractionFitter:
    """Fits the detector with declared linking keys; stands in for the class where a reference is fitted.

    Attributes:
        links: segment keys whose values tie accounts together, such as an owner or a payment hash. Accounts are pooled
            by these alone; a key that the reference does not have, ties nothing.
    """

    links: tuple[str, ...]
    name: ClassVar[str] = "extraction"

    def fit(self, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        return learn(reference, schema, pane_s, seed, self.links)


def learn(
    reference: EventBatch, schema: Schema, pane_s: float, seed: int, links: tuple[str, ...] | None = None
) -> Part | Unfit:
    """What honest clients look like; unfit without anything to compare queries by. No ``links`` finds them itself."""
    identity = Identity.choose(reference)
    reference = identity.stretched(reference)
    found = fit(reference, schema, seed)
    if isinstance(found, Unfit):
        return found
    channels, code, baseline, study, clients = found
    alone = identity.by is By.MODEL
    baseline = baseline.of_shown() if alone else baseline
    alignment = None if alone else Alignment.fit(clients, baseline.spread, seed)
    tying = linking_keys(reference) if links is None else tuple(key for key in links if key in reference.segments)
    keys = () if alone else tuple(key for key in tying if key != identity.key)
    arrays = led("channels", channels.to_arrays()) | led("rings", code.to_arrays())
    arrays |= led("study", study.to_arrays())
    arrays |= led("alignment", {} if alignment is None else alignment.to_arrays())
    facts = {
        "channels": channels.to_facts(),
        "rings": code.map.to_facts(),
        "study": study.to_facts(),
        "clients_per_week": 1.0 if alone else clients_per_week(reference),
        "client_days_per_week": clients_per_week(reference, DAY_S),
        "events_per_week": len(reference) * WEEK_S / max(float(np.ptp(reference.timestamp)), pane_s),
        "calibration": baseline.calibration,
        "identity": identity.to_facts(),
        "linking_keys": {key: retention(key, reference, clients, baseline) for key in keys},
    }
    return Part(arrays | led("baseline", baseline.to_arrays()), facts)
