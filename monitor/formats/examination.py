"""The slow, careful reading of an event: what the fast path turned away comes here to be read after all, or named.

Read after all: ``NaN`` and ``Infinity`` as Python writes them, numbers beyond the range of a double, numbers as
identities beyond 64 bits, and text that a database cannot store (U+0000, lone surrogates become U+FFFD).
Everything else leaves with a reason and a message that names the field and what was expected.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from monitor.errors import DeadLetterReason, InvalidRecord
from monitor.formats.event import MAX_NAME_CHARS, Event, Numbers, text_of

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_FEATURE = "a number, string, bool or null"
_CATEGORY = "a string, number or bool"
_LONGEST_INT = 300  # digits: safely within what float() takes without overflow, and int() without refusing


def parse(value: bytes) -> Any:
    """The JSON document in ``value``, read as Python's own parser does.

    Raises:
        InvalidRecord: ``undecodable``, with what is wrong and where.
    """
    try:
        return _PARSER.decode(value.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        fault = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        fault = f"not JSON: {error}"
    except RecursionError:
        fault = "JSON nested too deeply"
    raise InvalidRecord(DeadLetterReason.UNDECODABLE, fault)


def examine(document: Any) -> Event:
    """The event that ``document`` states.

    Raises:
        InvalidRecord: with the reason and the first field that is wrong.
    """
    if not isinstance(document, dict):
        raise _wrong("event", "a JSON object", document)
    return Event(
        model=_model(document.get("model")),
        version=_identity("version", document.get("version")),
        event_id=_identity("event_id", document.get("event_id")),
        client_id=_identity("client_id", document.get("client_id")),
        timestamp=_timestamp(document.get("timestamp")),
        features=_features(document.get("features")),
        embedding=_numbers("embedding", document.get("embedding")),
        logits=_numbers("logits", document.get("logits")),
        probabilities=_probabilities(document.get("probabilities")),
        prediction=_scalar("prediction", _CATEGORY, document.get("prediction")),
        label=_scalar("label", _CATEGORY, document.get("label")),
        latency_ms=_number("latency_ms", document.get("latency_ms")),
        segments=_segments(document.get("segments")),
        sampling_rate=_share("sampling_rate", document.get("sampling_rate")),
    )


def _model(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong("model", "a string", value)
    return _identity("model", value)


def _identity(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(field, "a string", value)
    return _name(field, text_of(value))


def _name(field: str, text: str) -> str:
    if len(text) > MAX_NAME_CHARS:
        raise _wrong(field, f"at most {MAX_NAME_CHARS} characters", text)
    return _clean(text)


def _timestamp(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"timestamp: expected RFC 3339 text or a number since 1970, got {_kind(value)}"
        raise InvalidRecord(DeadLetterReason.BAD_TIMESTAMP, message)
    return float(value)


def _features(value: Any) -> dict[str, float | str | bool | None] | Numbers | None:
    if isinstance(value, dict):
        return {
            _name("a feature's name", name): _scalar(f"features.{name}", _FEATURE, item) for name, item in value.items()
        }
    if value is None or isinstance(value, list):
        return _numbers("features", value)
    raise _wrong("features", "an object, or an array of numbers", value)


def _probabilities(value: Any) -> dict[str, float | None] | Numbers | None:
    if isinstance(value, dict):
        return {_name("a class's name", name): _number(f"probabilities.{name}", p) for name, p in value.items()}
    if value is None or isinstance(value, list):
        return _numbers("probabilities", value)
    raise _wrong("probabilities", "an array of numbers, or an object of class and number", value)


def _numbers(field: str, value: Any) -> Numbers | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _wrong(field, "an array of numbers", value)
    return [_number(f"{field}[{i}]", item) for i, item in enumerate(value)]


def _number(field: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(field, "a number", value)
    return float(value)


def _scalar(field: str, expected: str, value: Any) -> float | str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, int | float):
        return None if math.isnan(value) else float(value)
    raise _wrong(field, expected, value)


def _share(field: str, value: Any) -> float | None:
    if value is None:
        return None
    share = None if isinstance(value, bool | str) else _number(field, value)
    if share is None or not 0 < share <= 1:
        raise _wrong(field, "a number above 0 and up to 1", value)
    return share


def _segments(value: Any) -> dict[str, str | int | bool | None] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong("segments", "an object of strings", value)
    return {_name("a segment's name", name): _segment(name, item) for name, item in value.items()}


def _segment(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise _wrong(f"segments.{name}", "a string", value)
    return _name(f"segments.{name}", text_of(value))


def _clean(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _wrong(field: str, expected: str, value: Any) -> InvalidRecord:
    message = f"{_short(field)}: expected {expected}, got {_kind(value)}"
    return InvalidRecord(DeadLetterReason.WRONG_TYPE, _clean(message))


def _short(field: str) -> str:
    return field if len(field) <= 120 else f"{field[:119]}…"


_KINDS: Mapping[type, str] = {
    bool: "a bool",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "an array",
    str: "a string",
    type(None): "null",
}


def _kind(value: Any) -> str:
    name = _KINDS[type(value)]
    if isinstance(value, str):
        return f"{name} of {len(value)} characters"
    return f"{name} ({value!r:.24})" if isinstance(value, bool | int | float) else name


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _LONGEST_INT else float(digits)


_PARSER = json.JSONDecoder(parse_int=_whole)
