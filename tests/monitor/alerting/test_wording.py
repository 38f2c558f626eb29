"""Severity and title are functions of the reading alone."""

import pytest

from detectors.base import MODEL, Kind, Level, Reading, Subject, SubjectType
from monitor.alerting.wording import severity_of, title_of
from monitor.config import Severity

CLIENT = Subject(SubjectType.CLIENT, "acme-7")
GROUP = Subject(SubjectType.CLIENT_GROUP, "g1", ("a", "b", "c"))
FEATURE = Subject(SubjectType.FEATURE, "amount")
SEGMENT = Subject(SubjectType.SEGMENT, "country=FR")


@pytest.mark.parametrize(
    ("kind", "effect", "unit", "severity", "why"),
    [
        (Kind.EXTRACTION, 0.0, "queries", Severity.CRITICAL, "theft is always critical"),
        (Kind.EVASION, 0.0, "", Severity.CRITICAL, "attack is always critical"),
        (Kind.OOD, 0.19, "share of traffic", Severity.WARNING, "few strange inputs"),
        (Kind.OOD, 0.2, "share of traffic", Severity.CRITICAL, "a fifth of traffic"),
        (Kind.OOD, 5.0, "sd", Severity.WARNING, "not a share"),
        (Kind.DRIFT, 0.29, "share of traffic", Severity.WARNING, "small share"),
        (Kind.DRIFT, 0.3, "share of traffic", Severity.CRITICAL, "large share"),
        (Kind.DRIFT, 0.99, "sd", Severity.WARNING, "small shift"),
        (Kind.DRIFT, 1.0, "sd", Severity.CRITICAL, "large shift"),
        (Kind.DRIFT, -1.5, "sd", Severity.CRITICAL, "down is as far as up"),
        (Kind.DRIFT, 50.0, "nats", Severity.WARNING, "unknown unit"),
        (Kind.PIPELINE, 1e9, "records", Severity.WARNING, "rest"),
        (Kind.QUALITY, 1.0, "share of traffic", Severity.WARNING, "rest"),
        (Kind.PERFORMANCE, 1.0, "sd", Severity.WARNING, "rest"),
    ],
)
def test_severity(kind: Kind, effect: float, unit: str, severity: Severity, why: str) -> None:
    reading = Reading("d", kind, MODEL, Level.ALARM, 9.0, 8.0, effect, unit, 0.0, None, "why")
    assert severity_of(reading) is severity, why


@pytest.mark.parametrize(
    ("kind", "subject", "title"),
    [
        (Kind.DRIFT, MODEL, "Inputs of fraud-scorer have drifted"),
        (Kind.DRIFT, FEATURE, "Feature amount of fraud-scorer has drifted"),
        (Kind.DRIFT, SEGMENT, "Segment country=FR of fraud-scorer has drifted"),
        (Kind.OOD, MODEL, "Out-of-distribution inputs reach fraud-scorer"),
        (Kind.OOD, SEGMENT, "Out-of-distribution inputs reach fraud-scorer in segment country=FR"),
        (Kind.OOD, CLIENT, "Client acme-7 sends out-of-distribution inputs to fraud-scorer"),
        (Kind.EXTRACTION, CLIENT, "Client acme-7 may be stealing fraud-scorer"),
        (Kind.EXTRACTION, GROUP, "A group of 3 clients may be stealing fraud-scorer"),
        (Kind.EXTRACTION, MODEL, "Somebody may be stealing fraud-scorer"),
        (Kind.EVASION, CLIENT, "Client acme-7 may be attacking fraud-scorer"),
        (Kind.QUALITY, MODEL, "Data quality of fraud-scorer has dropped"),
        (Kind.QUALITY, FEATURE, "Feature amount of fraud-scorer has lost data quality"),
        (Kind.PERFORMANCE, MODEL, "Performance of fraud-scorer has dropped"),
        (Kind.PERFORMANCE, SEGMENT, "Performance of fraud-scorer has dropped for segment country=FR"),
        (Kind.PIPELINE, MODEL, "Monitoring of fraud-scorer is impaired"),
    ],
)
def test_title(kind: Kind, subject: Subject, title: str) -> None:
    assert title_of(kind, subject, "fraud-scorer") == title


@pytest.mark.parametrize(
    ("subject", "cause", "title"),
    [
        (MODEL, "silence", "No events of {fraud} arrive"),
        (MODEL, "volume", "The traffic of {fraud} has changed"),
        (MODEL, "columns", "Columns of {fraud} have lost data quality"),
        (MODEL, "schema", "The schema of {fraud} has changed"),
        (MODEL, "duplicates", "Events of {fraud} come twice"),
        (MODEL, "latency", "{fraud} answers more slowly"),
        (MODEL, "another", "Data quality of {fraud} has dropped"),
        (FEATURE, "columns", "Feature amount of {fraud} has lost data quality"),
    ],
)
def test_the_title_of_lost_quality_says_what_broke(subject: Subject, cause: str, title: str) -> None:
    assert title_of(Kind.QUALITY, subject, "{fraud}", cause) == title


def test_silence_is_critical() -> None:
    silent = Reading(
        "quality", Kind.QUALITY, MODEL, Level.ALARM, 9.0, 8.0, 60.0, "seconds", 0.0, None, "why", {"cause": "silence"}
    )
    assert severity_of(silent) is Severity.CRITICAL


def test_every_kind_and_subject_has_a_title_that_names_the_model() -> None:
    for kind in Kind:
        for subject_type in SubjectType:
            assert "fraud-scorer" in title_of(kind, Subject(subject_type, "x"), "fraud-scorer")
