import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.arrays import pack_arrays, unpack_arrays

KINDS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.unicode_string_dtypes(max_len=5),
)
ARRAYS = hnp.arrays(KINDS, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


def _junk(*items: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode({"a": items}))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=4))
def test_what_was_packed_comes_back_to_the_last_bit(arrays):
    back = unpack_arrays(pack_arrays(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
        assert back[name].flags.writeable


def test_views_and_big_endian_arrays_are_packed_by_value():
    array = np.arange(12, dtype=">i8").reshape(3, 4)[:, ::2].T
    np.testing.assert_array_equal(unpack_arrays(pack_arrays({"a": array}))["a"], array)


def test_equal_arrays_give_equal_bytes():
    assert pack_arrays({"a": np.ones(3)}) == pack_arrays({"a": np.ones(6)[::2]})


def test_empty_unicode_arrays_survive():
    assert unpack_arrays(pack_arrays({"a": np.array([], dtype="U")}))["a"].shape == (0,)


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array([b"x"]),
        np.array([1j]),
        np.array(["2026-01-01"], dtype="M8[s]"),
        np.zeros(1, "i4,i4"),
    ],
    ids=["object", "bytes", "complex", "date", "record"],
)
def test_other_dtypes_are_refused_by_name(array):
    with pytest.raises(ValueError, match="'odd'"):
        pack_arrays({"odd": array})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        zlib.compress(b"\xc1"),
        zlib.compress(msgspec.msgpack.encode([1])),
        _junk("|O", [1], b"12345678"),
        _junk("<f8", [2], b"12345678"),
        _junk("<f8", [-1], b"12345678"),
        _junk("<f8", [1] * 99, b"12345678"),
        _junk("<U999999999", [0], b""),
        _junk("<U1", [1], b"\xff\xff\xff\xff"),
        _junk("<f8", [1]),
        pack_arrays({"a": np.arange(9)})[:-5],
    ],
)
def test_junk_is_a_value_error(data):
    with pytest.raises(ValueError, match="not packed arrays"):
        unpack_arrays(data)
