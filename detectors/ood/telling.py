"""What the OOD detector says: one sentence, and the facts behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.base import Level, Pane
from detectors.batch import IntArray
from detectors.ood.columns import N, columns_in_words
from detectors.ood.state import OodEvidence, Seen
from detectors.ood.tally import ALPHAS, EXPECTED, FALSE_DISCOVERIES, LABELS, RANGES, STRANGE, Senders, discoveries

SHOWN = 10
TOLD_COLUMNS = 2
NOTEWORTHY = 0.05
"""Share of events that lack an input, from which on it is said."""
WARM_EVENTS = 20


def calm_reason(level: Level, state: OodEvidence, pane: Pane, inputs: Sequence[str]) -> str:
    if level is Level.WARMING:
        return f"{state.n_seen} inputs scored so far; {WARM_EVENTS} are needed before anything can be said"
    bins = pane.sketch.totals.get("bins")
    n = 0 if bins is None else int(bins.sum())
    if bins is None or n == 0:
        return "no input of this pane logged anything that can be compared with the reference"
    k, called = int(bins[: RANGES[STRANGE]].sum()), discoveries(pane.sketch.totals["ranks"])
    text = f"{k} of {n:,} inputs are stranger than 99 in 100 reference inputs, within what is tolerated"
    if called:
        text += f"; {called} of them one by one, at a false discovery rate of {100 * FALSE_DISCOVERIES:.0f} %"
    return text + _lacking(pane.sketch.totals["missing"], n, inputs)


def loud_reason(state: OodEvidence, leading: int, inputs: Sequence[str], columns: Sequence[str]) -> str:
    """The sentence of a warning or an alarm; ``leading``: position in ``ALPHAS`` of the bet that earned most."""
    seen = state.seen
    told = max(leading, STRANGE)
    n = seen.n_events
    share = f"{100 * float(seen.counts[: RANGES[told]].sum()) / n:.1f} % of the last {n:,} inputs"
    expected = 100 * ALPHAS[told]
    text = f"{share} are stranger than {100 - expected:g} in 100 reference inputs ({expected:g} % expected)"
    return text + _because(seen, columns) + _by_whom(seen, told) + _lacking(seen.missing, n, inputs)


def detail_of(
    state: OodEvidence, inputs: Sequence[str], because: Sequence[str], columns: Sequence[str]
) -> dict[str, Any]:
    seen = state.seen
    n, strange = seen.n_events, seen.n_strange
    return {
        "n_events": n,
        "n_strange": strange,
        "share_strange": strange / n if n else 0.0,
        "expected_share": ALPHAS[STRANGE],
        "n_one_by_one": seen.n_called,
        "false_discovery_rate": FALSE_DISCOVERIES,
        "p_bins": list(LABELS),
        "reference": [float(share) for share in EXPECTED],
        "current": [float(count) / n if n else 0.0 for count in seen.counts],
        "clients": _senders(seen.clients, "client"),
        "strange_segments": _senders(seen.segments, "segment"),
        "strange_columns": _columns(seen, columns),
        "because": _components(seen.components, because),
        "inputs_missing": _missing(seen.missing, n, inputs),
        "n_unscorable": int(seen.missing[-1]),
    }


def _because(seen: Seen, columns: Sequence[str]) -> str:
    blamed = _blamed(seen)[:TOLD_COLUMNS]
    told = [
        f"in {100 * seen.columns[j, N] / seen.n_strange:.0f} % of these {columns_in_words(columns[j], seen.columns[j])}"
        for j in blamed
        if seen.columns[j, N] >= 0.2 * seen.n_strange
    ]
    return f"; {' and '.join(told)}" if told else ""


def _by_whom(seen: Seen, told: int) -> str:
    """The client or segment that explains it, or holds much of it."""
    n, strange = seen.n_events, seen.n_strange
    if told != STRANGE or not strange:
        return ""
    for who, senders in (("client", seen.clients), ("segment", seen.segments)):
        if not len(senders.names):
            continue
        name, (sent, odd, _) = str(senders.names[0]), (int(c) for c in senders.counts[0])
        others, others_odd = n - sent, strange - odd
        if others > 0 and odd > 0.5 * strange and others_odd <= 0.02 * others:
            return f"; {who} {name} alone explains it: {odd:,} of its {sent:,} inputs are"
        if others > 0 and odd >= 0.3 * strange and odd * n >= 1.5 * strange * sent:
            return f"; {100 * odd / strange:.0f} % of them come from {who} {name}"
    return ""


def _lacking(missing: IntArray, n: int, inputs: Sequence[str]) -> str:
    """Which inputs many events lack; their scores rest on the others."""
    told = [
        f"{100 * count / n:.0f} % lack {name}"
        for name, count in zip(inputs, missing.tolist(), strict=False)
        if n and count >= NOTEWORTHY * n
    ]
    unscorable = int(missing[-1])
    text = f"; {' and '.join(told)}, and are scored by what is left" if told else ""
    if unscorable >= NOTEWORTHY * (n + unscorable):
        text += f"; {unscorable:,} more logged nothing that can be compared with the reference"
    return text


def _senders(senders: Senders, who: str) -> list[dict[str, Any]]:
    pairs = zip(senders.names, senders.counts, strict=True)
    return [{who: str(name), "n": int(c[0]), "n_strange": int(c[1])} for name, c in list(pairs)[:SHOWN] if c[1]]


def _blamed(seen: Seen) -> list[int]:
    counts = seen.columns[:, N]
    return [j for j in np.argsort(-counts, kind="stable").tolist() if counts[j]]


def _columns(seen: Seen, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": names[j],
            "n_strange": int(seen.columns[j, N]),
            "share": int(seen.columns[j, N]) / max(seen.n_strange, 1),
            "words": columns_in_words(names[j], seen.columns[j]),
        }
        for j in _blamed(seen)[:SHOWN]
    ]


def _components(counts: IntArray, because: Sequence[str]) -> list[dict[str, Any]]:
    whole = max(int(counts.sum()), 1)
    ranked = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    return [{"words": because[i], "n_strange": int(counts[i]), "share": int(counts[i]) / whole} for i in ranked[:SHOWN]]


def _missing(missing: IntArray, n: int, inputs: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"input": name, "n": int(count), "share": int(count) / n if n else 0.0}
        for name, count in zip(inputs, missing.tolist(), strict=False)
        if count
    ]
