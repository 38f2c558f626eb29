"""Named arrays as bytes and back: how evidence states and reference parts are kept. Portable and free of pickle."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_DTYPE = re.compile(r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<U[1-9]\d{0,8}")
_Packed = dict[str, tuple[str, tuple[int, ...], bytes]]
_LAST_CODE_POINT = 0x10FFFF


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays with their names, shapes and dtypes; equal arrays in equal order give equal bytes.

    Raises:
        ValueError: an array holds anything but bools, integers, floats of at most 64 bits or unicode text.
    """
    payload = {name: _pack(name, np.asarray(array)) for name, array in arrays.items()}
    return zlib.compress(msgspec.msgpack.encode(payload), level=1)


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Inverse of ``pack_arrays``: fresh, writable, little-endian, C-contiguous arrays.

    Raises:
        ValueError: the bytes are not packed arrays.
    """
    try:
        payload = msgspec.msgpack.decode(zlib.decompress(data), type=_Packed)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not packed arrays: {error}") from error
    return {name: _unpack(name, *item) for name, item in payload.items()}


def led(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The arrays, each name led by ``prefix/``: for the arrays of a part within those of a whole."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays whose names are led by ``prefix/``, without it."""
    cut = len(prefix) + 1
    return {name[cut:]: array for name, array in arrays.items() if name.startswith(prefix + "/")}


def _pack(name: str, array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    dtype = array.dtype.newbyteorder("<")
    if dtype.kind == "U" and dtype.itemsize == 0:
        dtype = np.dtype("<U1")
    if not _DTYPE.fullmatch(dtype.str):
        raise ValueError(f"array {name!r} of dtype {array.dtype} cannot be packed: only bools, numbers and unicode can")
    return dtype.str, array.shape, array.astype(dtype).tobytes()


def _unpack(name: str, dtype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"not packed arrays: {name!r} has dtype {dtype!r}")
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not packed arrays: {name!r} has dtype {dtype!r}") from error
    if len(shape) > 32 or any(n < 0 for n in shape) or math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"not packed arrays: {name!r} has {len(data)} bytes, too few or too many for its shape")
    if kind.kind == "U" and data and int(np.frombuffer(data, dtype="<u4").max()) > _LAST_CODE_POINT:
        raise ValueError(f"not packed arrays: {name!r} holds something that is not text")
    return np.ndarray(shape, kind, buffer=bytearray(data))
