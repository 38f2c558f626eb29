"""How grave a reading is and what to call it, as pure functions of the reading."""

from __future__ import annotations

from detectors.base import Kind, Reading, Subject, SubjectType
from monitor.config import Severity

STANDARD_DEVIATIONS = "sd"
GRAVE_SHARE_OUT_OF_DISTRIBUTION = 0.2
GRAVE_SHARE_DRIFTED = 0.3
GRAVE_SHIFT_SD = 1.0
SILENCE = "silence"
_BROKEN = {
    SILENCE: "No events of {model} arrive",
    "volume": "The traffic of {model} has changed",
    "columns": "Columns of {model} have lost data quality",
    "schema": "The schema of {model} has changed",
    "duplicates": "Events of {model} come twice",
    "latency": "{model} answers more slowly",
}


def severity_of(reading: Reading) -> Severity:
    """Theft, attack and silence are critical; drift and strange inputs are when they are large; the rest warns."""
    if reading.kind in (Kind.EXTRACTION, Kind.EVASION, Kind.PRIVACY):
        return Severity.CRITICAL
    share = _is_share(reading.effect_unit)
    if reading.kind is Kind.OOD and share and reading.effect >= GRAVE_SHARE_OUT_OF_DISTRIBUTION:
        return Severity.CRITICAL
    if reading.kind is Kind.DRIFT and share and reading.effect >= GRAVE_SHARE_DRIFTED:
        return Severity.CRITICAL
    shift = reading.effect_unit == STANDARD_DEVIATIONS
    if reading.kind is Kind.DRIFT and shift and abs(reading.effect) >= GRAVE_SHIFT_SD:
        return Severity.CRITICAL
    if reading.kind is Kind.QUALITY and cause_of(reading) == SILENCE:
        return Severity.CRITICAL
    return Severity.WARNING


def cause_of(reading: Reading) -> str:
    """What a reading of data quality says has broken (``volume``, ``silence``, …); ``""`` where it does not say."""
    cause = reading.detail.get("cause")
    return cause if isinstance(cause, str) else ""


def title_of(kind: Kind, subject: Subject, model: str, cause: str = "") -> str:
    """One line that names who, what and which model, in plain words."""
    who = _who(subject)
    match kind:
        case Kind.DRIFT:
            return f"{who} of {model} has drifted" if who else f"Inputs of {model} have drifted"
        case Kind.OOD if _is_sender(subject):
            return f"{who} sends out-of-distribution inputs to {model}"
        case Kind.OOD:
            where = f" in {_lower(who)}" if who else ""
            return f"Out-of-distribution inputs reach {model}{where}"
        case Kind.EXTRACTION:
            return f"{who or 'Somebody'} may be stealing {model}"
        case Kind.EVASION:
            return f"{who or 'Somebody'} may be attacking {model}"
        case Kind.PRIVACY:
            return f"{who or 'Somebody'} may be probing {model} for its training data"
        case Kind.ABUSE:
            return f"{who or 'Somebody'} may be abusing {model}"
        case Kind.QUALITY if not who and cause in _BROKEN:
            return _BROKEN[cause].replace("{model}", model)
        case Kind.QUALITY:
            return f"{who} of {model} has lost data quality" if who else f"Data quality of {model} has dropped"
        case Kind.PERFORMANCE:
            where = f" for {_lower(who)}" if who else ""
            return f"Performance of {model} has dropped{where}"
        case Kind.PIPELINE:
            return f"Monitoring of {model} is impaired"


def _is_share(unit: str) -> bool:
    return unit.startswith("share")


def _is_sender(subject: Subject) -> bool:
    return subject.type in (SubjectType.CLIENT, SubjectType.CLIENT_GROUP)


def _who(subject: Subject) -> str:
    match subject.type:
        case SubjectType.MODEL:
            return ""
        case SubjectType.CLIENT:
            return f"Client {subject.id}"
        case SubjectType.CLIENT_GROUP:
            return f"A group of {len(subject.members)} clients" if subject.members else f"Client group {subject.id}"
        case SubjectType.FEATURE:
            return f"Feature {subject.id}"
        case SubjectType.SEGMENT:
            return f"Segment {subject.id}"


def _lower(who: str) -> str:
    return who[:1].lower() + who[1:]
