"""Sketch: a fixed-size additive summary of events.

All state is integer. Integer sums are associative to the last bit, so any grouping of events over batches, partitions,
workers and machines gives the same sketch; a real-valued channel is carried in fixed point (``to_fixed``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from detectors.batch import FloatArray, IntArray

FIXED_POINT_ONE = 1 << 24


def to_fixed(values: FloatArray) -> IntArray:
    """Real values as integers in units of 2**-24; NaN counts as 0, the range is clipped to ±2**20."""
    clipped = np.clip(np.nan_to_num(values, nan=0.0), -(2.0**20), 2.0**20)
    return np.rint(clipped * FIXED_POINT_ONE).astype(np.int64)


def from_fixed(values: IntArray) -> FloatArray:
    """The real values of fixed-point integers."""
    return values / float(FIXED_POINT_ONE)


@dataclass(frozen=True, slots=True)
class Sketch:
    """Named int64 sums over events, and the same per key (client, segment value).

    Attributes:
        totals: name → int64 array of a shape that only the reference decides.
        keyed: group (such as ``"clients"``) → key → int64 array.
    """

    totals: Mapping[str, IntArray] = field(default_factory=dict)
    keyed: Mapping[str, Mapping[str, IntArray]] = field(default_factory=dict)

    def __add__(self, other: Sketch) -> Sketch:
        """The sketch of both sets of events together: exact, commutative, associative."""
        return total((self, other))

    def part(self, prefix: str) -> Sketch:
        """The sums whose names start with ``prefix/``, with the prefix taken off."""
        cut = len(prefix) + 1
        return Sketch(
            {k[cut:]: v for k, v in self.totals.items() if k.startswith(prefix + "/")},
            {k[cut:]: v for k, v in self.keyed.items() if k.startswith(prefix + "/")},
        )

    def under(self, prefix: str) -> Sketch:
        """The same sums, each name led by ``prefix/``."""
        return Sketch(
            {f"{prefix}/{k}": v for k, v in self.totals.items()},
            {f"{prefix}/{k}": v for k, v in self.keyed.items()},
        )

    def to_bytes(self) -> bytes:
        """Compact, portable, free of pickle."""
        payload = (
            {name: _pack(array) for name, array in self.totals.items()},
            {g: {key: _pack(array) for key, array in keys.items()} for g, keys in self.keyed.items()},
        )
        return zlib.compress(msgspec.msgpack.encode(payload), level=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError: the bytes are not a sketch.
        """
        try:
            totals, keyed = msgspec.msgpack.decode(zlib.decompress(data), type=_Payload)
        except (zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"not a sketch: {error}") from error
        return cls(
            {name: _unpack(item) for name, item in totals.items()},
            {g: {key: _unpack(item) for key, item in keys.items()} for g, keys in keyed.items()},
        )


_Array = tuple[str, tuple[int, ...], bytes]
_Payload = tuple[dict[str, _Array], dict[str, dict[str, _Array]]]


def total(sketches: Iterable[Sketch]) -> Sketch:
    """The exact sum of sketches.

    Raises:
        ValueError: two sketches hold the same name with different shapes (they come from different references).
    """
    totals: dict[str, IntArray] = {}
    keyed: dict[str, dict[str, IntArray]] = {}
    for sketch in sketches:
        for name, array in sketch.totals.items():
            _add_to(totals, name, array)
        for group, keys in sketch.keyed.items():
            target = keyed.setdefault(group, {})
            for key, array in keys.items():
                _add_to(target, key, array)
    return Sketch(totals, keyed)


def _add_to(sums: dict[str, IntArray], name: str, array: IntArray) -> None:
    known = sums.get(name)
    if known is None:
        sums[name] = array
    elif known.shape != array.shape:
        raise ValueError(f"sketches of different references cannot be added: {name} {known.shape} and {array.shape}")
    else:
        sums[name] = known + array


def _pack(array: IntArray) -> _Array:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for dtype in ("<i1", "<i2", "<i4"):
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return dtype, array.shape, array.astype(dtype).tobytes()
    return "<i8", array.shape, array.astype("<i8").tobytes()


def _unpack(item: _Array) -> IntArray:
    dtype, shape, data = item
    if dtype not in ("<i1", "<i2", "<i4", "<i8"):
        raise ValueError(f"not a sketch: dtype {dtype!r}")
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(np.int64)
