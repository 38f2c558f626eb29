"""Identity: whose queries are summed together where not every log names its clients.

Clients where they are logged; else the values of a declared segment key; else the model as a whole, whose queries are
compared with stretches of the reference. A whole model has no peers, so a thief cannot be told from a drift there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np

from detectors.base import MODEL, Subject, SubjectType
from detectors.batch import EventBatch, ObjectArray
from detectors.clients.rings import ClientRings

STRETCH = 100
"""Queries of the reference that stand for one client where only the model as a whole is known."""
WHOLE = "the model as a whole"
_NAMED = 0.5


class By(StrEnum):
    CLIENT = "client"
    SEGMENT = "segment"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is judged: clients, the values of segment ``key``, or the model as a whole."""

    by: By
    key: str = ""

    @classmethod
    def choose(cls, reference: EventBatch) -> Self:
        """The finest identity that the reference bears: clients, the segment key with most values, or the model."""
        if reference.client_id is not None and any(reference.client_id):
            return cls(By.CLIENT)
        values = [
            (len({v for v in column.tolist() if v}), sum(bool(v) for v in column.tolist()), name)
            for name, column in reference.segments.items()
        ]
        useful = [(n, name) for n, seen, name in values if 2 <= n <= seen / 2 and seen >= _NAMED * len(reference)]
        return cls(By.SEGMENT, max(useful)[1]) if useful else cls(By.MODEL)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        return cls(By(facts["by"]), str(facts["key"]))

    def to_facts(self) -> dict[str, str]:
        return {"by": self.by.value, "key": self.key}

    def of(self, batch: EventBatch) -> ObjectArray | None:
        """(n,) whose query each event is, ``""`` where that was not logged; None where it never was."""
        if self.by is By.CLIENT:
            return batch.client_id
        out = np.empty(len(batch), dtype=object)
        if self.by is By.MODEL:
            out[:] = WHOLE
            return out
        if self.key not in batch.segments:
            return None
        out[:] = ["" if value is None else str(value) for value in batch.segments[self.key]]
        return out

    def named(self, batch: EventBatch) -> EventBatch:
        """The batch with whoever is judged in the place of the client."""
        return batch if self.by is By.CLIENT else replace(batch, client_id=self.of(batch))

    def stretched(self, reference: EventBatch) -> EventBatch:
        """A reference to learn from: for the model as a whole, each stretch of it is a client."""
        if self.by is not By.MODEL:
            return self.named(reference)
        names = np.array([f"stretch {i // STRETCH}" for i in range(len(reference))], dtype=object)
        return replace(reference, client_id=names)

    def subject(self, name: str) -> Subject:
        """Whom a reading is about."""
        if self.by is By.MODEL:
            return MODEL
        if self.by is By.SEGMENT:
            return Subject(SubjectType.SEGMENT, f"{self.key}={name}")
        return Subject(SubjectType.CLIENT, name)

    def state(self, name: str) -> Subject:
        """Under which subject the evidence is kept; the model's own place holds what all clients share."""
        return Subject(SubjectType.SEGMENT, name) if self.by is By.MODEL else self.subject(name)

    def who(self, name: str) -> str:
        """The subject at the start of a sentence."""
        words = {By.CLIENT: f"Client {name[:80]}", By.SEGMENT: f"Segment {self.key}={name[:80]}", By.MODEL: "Traffic"}
        return words[self.by]

    @property
    def ask(self) -> str:
        """What to find out first about an alarm."""
        return "check who holds this key" if self.by is By.CLIENT else "check who sends these queries"

    @property
    def caveat(self) -> str:
        """What cannot be said for lack of client ids; "" where they are logged."""
        if self.by is By.SEGMENT:
            return f"No client ids are logged, so queries are judged by segment {self.key}: log client_id to name who."
        if self.by is By.MODEL:
            return (
                "No client ids or segment keys are logged, so only the model as a whole is judged and theft cannot be "
                "told from drift: log client_id."
            )
        return ""


class Memory:
    """Rings of whoever is judged; the model as a whole has none, for its repeats say nothing."""

    def __init__(self, rings: ClientRings, identity: Identity) -> None:
        self._rings = rings
        self._identity = identity

    def __len__(self) -> int:
        return len(self._rings)

    @property
    def nbytes(self) -> int:
        """Bytes held by the rings themselves."""
        return self._rings.nbytes

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with the annotations of the rings."""
        if self._identity.by is By.MODEL:
            return batch
        return replace(batch, annotations=self._rings.annotate(self._identity.named(batch)).annotations)
