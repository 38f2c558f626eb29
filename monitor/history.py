"""Reading logs as history: the same sources and decoder as in production, over files, to the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from detectors.batch import EventBatch, concatenate
from detectors.performance.joining import with_late_labels
from detectors.reference import Reference
from detectors.selftest import fit_tested_reference
from monitor.errors import PermanentError
from monitor.formats.native import NativeDecoder
from monitor.sources.files import FileSource
from monitor.sources.logs import named_faults

MAX_REFERENCE_EVENTS = 100_000
MAX_REFERENCE_VALUES = 60_000_000
_RECORDS_PER_READ = 5_000
MAX_RECORD_BYTES = 64 << 20
_MOST_MODELS_NAMED = 10
_ZLIB_MAGIC = (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x78\x5e")


@dataclass
class ReadCounts:
    """What a log held: events by model, and rejected rows by reason."""

    records: int = 0
    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


def read_batches(
    logs: Sequence[Path], model: str, counts: ReadCounts, progress: Callable[[int], None] = lambda _records: None
) -> Iterator[EventBatch]:
    """Batches of ``model``'s events in the order of the logs; what cannot be read is counted, not raised.

    Raises:
        PermanentError: a log cannot be opened.
    """
    source = FileSource(logs, default_model=model)
    decoder = NativeDecoder(MAX_RECORD_BYTES)
    try:
        for partition in source.assignment().assigned:
            source.seek(partition, source.bounds(partition).low)
        while not source.exhausted():
            for records in source.poll(0.0, _RECORDS_PER_READ).values():
                decoded = decoder.decode(records)
                counts.records += len(records)
                counts.rejected.update(rejection.reason.value for rejection in decoded.rejections)
                for batch in decoded.batches:
                    counts.events[batch.model] += len(batch)
                    if batch.model == model:
                        yield batch
                progress(len(records))
    finally:
        source.close()


def reference_from_file(
    files: Sequence[Path],
    model: str,
    version: str | None,
    seed: int,
    pane_s: int | None = None,
    progress: Callable[[int], None] = lambda _records: None,
    counts: ReadCounts | None = None,
    fit: Callable[[EventBatch, str, int, int | None], Reference] = fit_tested_reference,
) -> Reference:
    """A reference from a log of ordinary events, or one that ``vedette reference fit --output`` saved.

    Args:
        version: take only events of this version; None takes all, and the reference then serves every version.
        counts: is told what was read.
        fit: ``fit_tested_reference``, or ``fit_reference`` where doubts do not matter.

    Raises:
        PermanentError: the files hold too few events of the model; the message says what they do hold.
    """
    if len(files) == 1 and is_saved_reference(files[0]):
        saved = saved_reference(files[0])
        if saved.model != model:
            raise PermanentError(f"{files[0]}: is a reference of model {saved.model!r}, not of {model!r}")
        return saved
    counts = counts or ReadCounts()
    batches = list(read_batches(files, model, counts, progress))
    labelled = with_late_labels(batches)
    chosen = [batch for batch in labelled if version is None or batch.version == version]
    if not chosen:
        raise PermanentError(_nothing_found(files, model, version, counts, batches))
    merged = concatenate([_unversioned(batch, version or "") for batch in chosen])
    try:
        return fit(_capped(merged), version or "", seed, pane_s)
    except ValueError as error:
        raise PermanentError(f"{_names(files)}: {error}") from error


def is_saved_reference(path: Path) -> bool:
    """Whether the file is one that ``vedette reference fit --output`` wrote, rather than a log.

    Raises:
        PermanentError: it cannot be read.
    """
    with named_faults(path), path.open("rb") as file:
        return file.read(2) in _ZLIB_MAGIC


def saved_reference(path: Path) -> Reference:
    """The reference in a file.

    Raises:
        PermanentError: it holds none, or one of another version of Vedette.
    """
    try:
        with named_faults(path):
            return Reference.from_bytes(path.read_bytes())
    except ValueError as error:
        raise PermanentError(f"{path}: {error}") from error


def _unversioned(batch: EventBatch, version: str) -> EventBatch:
    return replace(batch, version=version)


def _capped(batch: EventBatch) -> EventBatch:
    """Every k-th event, so that a huge reference log costs bounded memory; its sampling rate says so."""
    width = max(batch.numeric.shape[1] + len(batch.mixed), 1)
    most = max(min(MAX_REFERENCE_EVENTS, MAX_REFERENCE_VALUES // width), 1_000)
    if len(batch) <= most:
        return batch
    thinned = batch.take(np.linspace(0, len(batch) - 1, most).astype(np.int64))
    logged = np.ones(most) if thinned.sampling_rate is None else thinned.sampling_rate
    return replace(thinned, sampling_rate=logged * (most / len(batch)))


def _nothing_found(
    files: Sequence[Path], model: str, version: str | None, counts: ReadCounts, batches: Sequence[EventBatch]
) -> str:
    if batches:
        versions = ", ".join(sorted({repr(batch.version) for batch in batches}))
        return f"{_names(files)}: no event of {model!r} has version {version!r}; there are {versions}"
    if counts.events:
        return f"{_names(files)}: {no_event_of(model, counts.events)}"
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in counts.rejected.most_common())
    return f"{_names(files)}: no readable event" + (f"; rejected: {reasons}" if reasons else "; the log is empty")


def no_event_of(model: str, found: Mapping[str, int]) -> str:
    """That a log lacks a model, and which models it has instead."""
    most = sorted(found.items(), key=lambda item: -item[1])[:_MOST_MODELS_NAMED]
    more = f" and {len(found) - len(most):,} more" if len(found) > len(most) else ""
    return f"no event of model {model!r}; there are events of {', '.join(f'{m!r} ({n:,})' for m, n in most)}{more}"


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in files)


def models_in(file: Path) -> list[str]:
    """Names of the models that a reference file speaks of, in order of first appearance."""
    if is_saved_reference(file):
        return [saved_reference(file).model]
    counts = ReadCounts()
    for _batch in read_batches([file], "", counts):
        pass
    return list(counts.events)
