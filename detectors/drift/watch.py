"""The watch: which columns of a model are counted, and how its events become bins. The map side of drift detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.dates import AGE, WEEKDAY
from detectors.drift.columns import (
    HEAVY,
    CategoryBins,
    CodeArray,
    Group,
    Key,
    NumericBins,
    Role,
    Values,
    WatchedColumn,
)
from detectors.drift.digitise import Digitiser, count_slices
from detectors.drift.texts import Texts, Vocabulary
from detectors.drift.values import (
    PREDICTION,
    PROBABILITY_OF,
    Projection,
    feature_values,
    joint_rows,
    joint_sources,
    joint_values,
    output_values,
    raw_texts,
    text_values,
    watched_classes,
)
from detectors.roles import mixed_column
from detectors.schema import Role as Feature
from detectors.schema import Schema, as_categories, as_numbers

_PREDICTION: Key = (Group.OUTPUT, PREDICTION)
_FREE_DAYS = 28.0
_VOCABULARY = "vocabulary"


@dataclass(frozen=True)
class Watch:
    """The watched columns of one model: features, outputs and joint directions, each with its bins.

    ``vocabularies`` holds the words of every free text, a feature or the prediction.
    """

    schema: Schema
    columns: tuple[WatchedColumn, ...]
    projections: Mapping[str, Projection]
    vocabularies: Mapping[Key, Vocabulary]

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema) -> Self:
        """Columns and bins of ordinary events; without columns where nothing is logged that could drift."""
        projections = {}
        for source in joint_sources():
            projection = Projection.fit(joint_rows(reference, schema, source))
            if projection is not None:
                projections[source] = projection
        texts = {key: Texts.read(raw_texts(reference, key)) for key in _text_keys(reference, schema)}
        vocabularies = {key: Vocabulary.learn(read) for key, read in texts.items()}
        empty = cls(schema, (), projections, vocabularies)
        values = empty._values(reference, texts, empty._unknown_left_out(texts), watched_classes(reference))
        values.update(_prediction(reference, texts))
        kept = {key: column for key, column in values.items() if not _tied_to_events(key, values)}
        columns = tuple(WatchedColumn(key[1], key[0], _bins(column)) for key, column in kept.items())
        return cls(schema, columns, projections, vocabularies)

    def codes(self, batch: EventBatch) -> CodeArray:
        """(n, columns) bin of every value; columns are contiguous. Shared by all that counts them.

        ``count_slices`` and ``count_groups`` of ``detectors/drift/digitise.py`` count codes by time and by segment.
        """
        texts = self._texts(batch)
        unknown = {key: self.vocabularies[key].unknown_share(read) for key, read in texts.items()}
        return self._digitiser.codes(self._ready(batch, texts, unknown), len(batch))

    def codes_of_reference(self, reference: EventBatch) -> CodeArray:
        """The same for the events that the watch was fitted on, each coded as if the others alone were the reference.

        Otherwise the reference would hold no unseen value and no unknown word, and all traffic would drift.
        """
        texts = self._texts(reference)
        values = self._ready(reference, texts, self._unknown_left_out(texts))
        codes = self._digitiser.codes(values, len(reference))
        for i, column in enumerate(self.columns):
            if isinstance(column.bins, CategoryBins):
                codes[:, i] = column.bins.code_left_out(np.asarray(values[column.key], dtype=object))
        return codes

    def count(self, batch: EventBatch, starts: IntArray, mask: NDArray[np.bool_] | None = None) -> list[IntArray]:
        """(columns, N_BINS) counts of each slice of the batch that begins at ``starts``, of the rows of the mask."""
        return count_slices(self.codes(batch), starts, mask)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {}
        for source, projection in self.projections.items():
            arrays.update(projection.to_arrays(source))
        for (group, name), vocabulary in self.vocabularies.items():
            arrays[f"{_VOCABULARY}.{group.value}.{name}"] = vocabulary.hashes
        return arrays

    def to_facts(self) -> list[dict[str, Any]]:
        """One JSON-ready object per column; what is not watched, and why, is told by ``Schema.left_out``."""
        return [column.to_json() for column in self.columns]

    @classmethod
    def load(cls, arrays: Arrays, facts: Sequence[Mapping[str, Any]], schema: Schema) -> Self:
        """Inverse of ``to_arrays`` and ``to_facts``; reads older references too."""
        found = {source: Projection.from_arrays(arrays, source) for source in joint_sources()}
        projections = {source: projection for source, projection in found.items() if projection is not None}
        vocabularies = {}
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            if kind == _VOCABULARY:
                group, _, column = rest.partition(".")
                vocabularies[Group(group), column] = Vocabulary(np.asarray(array, dtype=np.uint64))
        return cls(schema, tuple(WatchedColumn.from_json(item) for item in facts), projections, vocabularies)

    @cached_property
    def _digitiser(self) -> Digitiser:
        return Digitiser.build(self.columns)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        return tuple(
            column.name.removeprefix(PROBABILITY_OF)
            for column in self.columns
            if column.group is Group.OUTPUT and column.name.startswith(PROBABILITY_OF)
        )

    def _texts(self, batch: EventBatch) -> dict[Key, Texts]:
        return {key: Texts.read(raw_texts(batch, key)) for key in self.vocabularies}

    def _unknown_left_out(self, texts: Mapping[Key, Texts]) -> dict[Key, FloatArray]:
        return {key: self.vocabularies[key].unknown_share_left_out(read) for key, read in texts.items()}

    def _values(
        self,
        batch: EventBatch,
        texts: Mapping[Key, Texts],
        unknown: Mapping[Key, FloatArray],
        classes: Sequence[str],
    ) -> Values:
        values = {**feature_values(batch, self.schema), **output_values(batch, classes)}
        for key, read in texts.items():
            values.update(text_values(key, read, unknown[key]))
        values.update(joint_values(batch, self.schema, self.projections))
        return values

    def _ready(self, batch: EventBatch, texts: Mapping[Key, Texts], unknown: Mapping[Key, FloatArray]) -> Values:
        """One array per column, of its role; missing where the batch lacks it."""
        values = self._values(batch, texts, unknown, self._classes)
        for column in self.columns:
            numeric = column.role is Role.NUMERIC
            if column.key == _PREDICTION and batch.prediction is not None:
                values[_PREDICTION] = (as_numbers if numeric else as_categories)(batch.prediction)
            elif column.key not in values:
                values[column.key] = np.full(len(batch), np.nan) if numeric else np.full(len(batch), None, dtype=object)
        return values


def _text_keys(reference: EventBatch, schema: Schema) -> list[Key]:
    keys = [(Group.FEATURE, name) for name in schema.names(Feature.TEXT)]
    if reference.prediction is not None:
        prediction = mixed_column(PREDICTION, reference.prediction, reference.timestamp)
        keys += [_PREDICTION] if prediction.role is Feature.TEXT else []
    return keys


def _prediction(reference: EventBatch, texts: Mapping[Key, Texts]) -> Values:
    """The prediction as numbers when all of them are and they vary, as categories otherwise; nothing for free text."""
    if reference.prediction is None or _PREDICTION in texts:
        return {}
    told: ObjectArray = reference.prediction
    numbers = as_numbers(told)
    written = any(isinstance(value, str) for value in told.tolist())
    few = np.unique(numbers[np.isfinite(numbers)]).size <= HEAVY
    return {_PREDICTION: as_categories(told) if written or few or np.isinf(numbers).any() else numbers}


def _tied_to_events(key: Key, values: Values) -> bool:
    """Whether this is the weekday of a date so close to its event that it only tells the day of the event."""
    group, name = key
    age = values.get((group, name.removesuffix(WEEKDAY) + AGE)) if name.endswith(WEEKDAY) else None
    if age is None:
        return False
    days = np.asarray(age, dtype=np.float64)
    days = days[np.isfinite(days)]
    return not (days.size and float(np.subtract(*np.quantile(days, [0.75, 0.25]))) >= _FREE_DAYS)


def _bins(column: FloatArray | ObjectArray) -> NumericBins | CategoryBins:
    if column.dtype == object:
        return CategoryBins.fit(np.asarray(column, dtype=object))
    return NumericBins.fit(np.asarray(column, dtype=np.float64))
