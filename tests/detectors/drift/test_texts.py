"""Free text as numbers, and a vocabulary that holds hashes alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.drift.texts import MAX_READ, MAX_WORDS, Texts, Vocabulary


def objects(*values: object) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def test_a_text_is_measured() -> None:
    texts = Texts.read(objects("Call me at 10!", "", None, 3.0, "Größe Ω 物流"))
    np.testing.assert_array_equal(texts.characters, [14, 0, np.nan, np.inf, 10])
    np.testing.assert_array_equal(texts.words, [4, 0, np.nan, np.inf, 3])
    np.testing.assert_allclose(texts.non_letters, [3 / 11, 0, np.nan, np.inf, 0])
    assert texts.tokens == ("call", "me", "at", "größe", "ω", "物流")
    assert texts.row.tolist() == [0, 0, 0, 4, 4, 4]


def test_words_out_of_the_vocabulary_are_a_share_of_each_text() -> None:
    vocabulary = Vocabulary.learn(Texts.read(objects("red green", "blue RED")))
    shares = vocabulary.unknown_share(Texts.read(objects("Red blue", "red pink pink", "123", None, True)))
    np.testing.assert_allclose(shares, [0, 2 / 3, 0, np.nan, np.inf])


@given(st.lists(st.text(alphabet="ab ", max_size=12), min_size=2, max_size=12))
def test_a_text_left_out_is_measured_by_the_words_of_the_others(values: list[str]) -> None:
    texts = Texts.read(objects(*values))
    shares = Vocabulary.learn(texts).unknown_share_left_out(texts)
    for i, value in enumerate(values):
        others = Vocabulary.learn(Texts.read(objects(*values[:i], *values[i + 1 :])))
        assert shares[i] == others.unknown_share(Texts.read(objects(value)))[0]


def test_the_reference_foretells_the_share_of_unknown_words() -> None:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 60_001)
    names = [f"w{''.join(chr(97 + int(d)) for d in str(i))}" for i in range(60_000)]

    def drawn(n: int) -> Texts:
        words = rng.choice(60_000, size=(n, 12), p=share / share.sum())
        return Texts.read(objects(*[" ".join(names[w] for w in row) for row in words]))

    reference, live = drawn(8_000), drawn(4_000)
    vocabulary = Vocabulary.learn(reference)
    told = vocabulary.unknown_share_left_out(reference).mean()
    met = vocabulary.unknown_share(live).mean()
    assert told == pytest.approx(met, abs=0.01)
    assert met > 0.1
    assert vocabulary.hashes.dtype == np.uint64
    assert 5_000 < len(vocabulary.hashes) <= MAX_WORDS
    assert np.all(np.diff(vocabulary.hashes.astype(object)) > 0)


def test_only_the_beginning_of_a_huge_text_is_read_but_its_length_is_known() -> None:
    texts = Texts.read(objects("ab " * MAX_READ))
    assert texts.characters.tolist() == [3 * MAX_READ]
    assert len(texts.tokens) <= MAX_READ


@given(st.lists(st.one_of(st.none(), st.booleans(), st.floats(), st.text()), max_size=10))
def test_any_value_is_measured_as_it_would_be_alone(values: list[object]) -> None:
    vocabulary = Vocabulary.learn(Texts.read(objects("some ordinary words", "ordinary people")))
    together = Texts.read(objects(*values))
    shares = vocabulary.unknown_share(together)
    for i, value in enumerate(values):
        alone = Texts.read(objects(value))
        np.testing.assert_equal(together.non_letters[i], alone.non_letters[0])
        np.testing.assert_equal(shares[i], vocabulary.unknown_share(alone)[0])
        assert np.isinf(shares[i]) == (value is not None and not isinstance(value, str))
        if isinstance(value, str):
            assert 0 <= together.non_letters[i] <= 1
            assert 0 <= shares[i] <= 1
