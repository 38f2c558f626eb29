"""Free text as numbers: its size, its script, and how much of it the reference never said.

The vocabulary is a sorted array of 64-bit hashes of lower-case words, so a reference holds no one's sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray, ObjectArray
from detectors.drift.columns import kept_whole, left_out_floor

MAX_WORDS = 20_000
MAX_READ = 10_000
"""Characters of one text that are read for its words and letters."""
CHARACTERS, WORDS, NON_LETTERS, UNKNOWN = (
    ": characters",
    ": words",
    ": non-letter share",
    ": out-of-vocabulary share",
)
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What was read of n values: NaN where missing, +inf where the value is not text.

    Attributes:
        characters, words, non_letters: (n,) length, number of words (parted by space), share of the characters other
            than space that are not letters.
        tokens: runs of letters, lower-case, of all texts in order; ``row``: (tokens,) the text that each is from.
    """

    characters: FloatArray
    words: FloatArray
    non_letters: FloatArray
    tokens: tuple[str, ...]
    row: IntArray

    @classmethod
    def read(cls, values: ObjectArray) -> Self:
        """Cost: about 5 µs for a text of twenty words."""
        n = len(values)
        sizes = np.array([np.nan if value is None else np.inf for value in values.tolist()], dtype=np.float64)
        characters, words, non_letters = sizes.copy(), sizes.copy(), sizes.copy()
        tokens: list[str] = []
        n_tokens = np.zeros(n, dtype=np.int64)
        for i, value in enumerate(values.tolist()):
            if isinstance(value, str):
                read = value[:MAX_READ]
                parts, runs = read.split(), _LETTERS.findall(read.lower())
                solid = sum(map(len, parts))
                letters = min(sum(map(len, runs)), solid)
                characters[i], words[i] = len(value), len(parts)
                non_letters[i] = 1.0 - letters / solid if solid else 0.0
                n_tokens[i] = len(runs)
                tokens += runs
        return cls(characters, words, non_letters, tuple(tokens), np.repeat(np.arange(n), n_tokens))

    def share(self, known: Mapping[str, bool]) -> FloatArray:
        """(n,) share of each text's tokens that are not ``known``; 0 for a text without any."""
        unknown = np.array([not known[token] for token in self.tokens], dtype=np.float64)
        n = len(self.characters)
        sums = np.bincount(self.row, weights=unknown, minlength=n)
        sizes = np.bincount(self.row, minlength=n)
        return np.where(np.isfinite(self.characters), sums / np.maximum(sizes, 1), self.characters)


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The words of a reference's texts; ``hashes``: (≤ 20,000,) uint64, sorted."""

    hashes: NDArray[np.uint64]

    @classmethod
    def learn(cls, texts: Texts) -> Self:
        """The words that most texts hold."""
        counts = _texts_with(texts)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        return cls(np.unique(_hashes(kept_whole(ranked, counts, MAX_WORDS))))

    def knows(self, tokens: list[str]) -> NDArray[np.bool_]:
        """(n,) whether each token is one of the reference's words."""
        return np.isin(_hashes(tokens), self.hashes)

    def unknown_share(self, texts: Texts) -> FloatArray:
        """(n,) share of a text's words that are not in the vocabulary."""
        distinct = list(dict.fromkeys(texts.tokens))
        return texts.share(dict(zip(distinct, self.knows(distinct).tolist(), strict=True)))

    def unknown_share_left_out(self, texts: Texts) -> FloatArray:
        """The same for the reference's own texts, each as if the vocabulary had been learned from the others."""
        counts = _texts_with(texts)
        distinct = list(counts)
        known = dict(zip(distinct, self.knows(distinct).tolist(), strict=True))
        least = left_out_floor((counts[token] for token in distinct if known[token]), not all(known.values()))
        return texts.share({token: known[token] and counts[token] > least for token in distinct})


def _texts_with(texts: Texts) -> Counter[str]:
    """Token → number of texts that hold it."""
    return Counter(token for token, _ in dict.fromkeys(zip(texts.tokens, texts.row.tolist(), strict=True)))


def _hashes(tokens: list[str]) -> NDArray[np.uint64]:
    digests = b"".join(blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest() for token in tokens)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
