"""Reference: what normal looks like for one model version; compact, versioned, without raw rows of clients.

A reference is fitted from ordinary events (never from the model's training rows, on which confidence and distances look
too good). Each detector fits its own part; a detector that cannot watch this model leaves its reason instead.
The file format is a zlib-compressed msgpack of plain arrays and facts; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import Part
from detectors.schema import Schema

FORMAT = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """What normal looks like.

    Attributes:
        pane_s: width of the panes that this reference is judged on, seconds.
        first, last: event-time span of the reference, epoch seconds.
        parts: detector name → its fitted part.
        unfit: detector name → why it cannot watch this model.
        doubts: what the self-test has against this reference; see ``detectors/selftest.py``.
        untested: why there was no self-test; "" where there was one.
    """

    model: str
    version: str
    n_events: int
    n_clients: int
    first: float
    last: float
    pane_s: int
    schema: Schema
    parts: Mapping[str, Part] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    untested: str = "no self-test was asked for"

    def to_bytes(self) -> bytes:
        """Portable bytes; the same reference gives the same bytes."""
        payload = {
            "format": FORMAT,
            "facts": self.summary(),
            "parts": {
                name: [pack_arrays(part.arrays), msgspec.json.encode(part.facts)] for name, part in self.parts.items()
            },
        }
        return zlib.compress(msgspec.msgpack.encode(payload), level=6)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError: not a reference, or written by a newer version of Vedette.
        """
        try:
            payload = msgspec.msgpack.decode(zlib.decompress(data))
        except (zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"not a reference: {error}") from error
        if not isinstance(payload, dict) or payload.get("format") != FORMAT:
            raise ValueError("not a reference of this version of Vedette: fit it again with `vedette reference fit`")
        facts = payload["facts"]
        parts = {
            name: Part(unpack_arrays(arrays), msgspec.json.decode(part_facts))
            for name, (arrays, part_facts) in payload["parts"].items()
        }
        return cls(
            model=facts["model"],
            version=facts["version"],
            n_events=facts["n_events"],
            n_clients=facts["n_clients"],
            first=facts["first"],
            last=facts["last"],
            pane_s=facts["pane_s"],
            schema=Schema.from_json(facts["schema"]),
            parts=parts,
            unfit=facts["unfit"],
            doubts=tuple(facts["doubts"]),
            untested=facts["untested"],
        )

    @property
    def id(self) -> str:
        """Hash of the content: equal references have equal ids."""
        return reference_id(self.to_bytes())

    def summary(self) -> dict[str, Any]:
        """JSON-ready facts for lists and pages."""
        return {
            "model": self.model,
            "version": self.version,
            "n_events": self.n_events,
            "n_clients": self.n_clients,
            "first": self.first,
            "last": self.last,
            "pane_s": self.pane_s,
            "schema": self.schema.to_json(),
            "detectors": sorted(self.parts),
            "unfit": dict(self.unfit),
            "doubts": list(self.doubts),
            "untested": self.untested,
        }


def reference_id(data: bytes) -> str:
    """Id of a reference in its byte form."""
    return hashlib.sha256(data).hexdigest()[:20]
