"""The evidence desk: what a judge has in hand of a model version's evidence while it holds its claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from detectors.base import Arrays, Subject
from monitor.storage.judging import ModelClaim, load_evidence, save_evidence


class EvidenceDesk:
    """Evidence of one claim: read on first use, kept in memory over the panes, written once."""

    def __init__(self, connection: sa.Connection, claim: ModelClaim, reference_id: str) -> None:
        self._connection = connection
        self._claim = claim
        self._reference_id = reference_id
        self._known: dict[tuple[str, Subject], Arrays | None] = {}
        self._changed: dict[str, dict[Subject, Arrays]] = {}

    def load(self, detector: str, subjects: Sequence[Subject]) -> Mapping[Subject, Arrays]:
        missing = [s for s in subjects if (detector, s) not in self._known]
        if missing:
            found = load_evidence(
                self._connection, self._claim.model, self._claim.version, self._reference_id, detector, missing
            )
            self._known.update({(detector, s): found.get(s) for s in missing})
        return {s: state for s in subjects if (state := self._known[detector, s]) is not None}

    def keep(self, detector: str, evidence: Mapping[Subject, Arrays]) -> None:
        for subject, state in evidence.items():
            self._known[detector, subject] = state
            self._changed.setdefault(detector, {})[subject] = state

    def save(self, pane_start: int) -> None:
        for detector, evidence in self._changed.items():
            save_evidence(
                self._connection,
                self._claim.model,
                self._claim.version,
                self._reference_id,
                detector,
                evidence,
                pane_start,
            )
