"""Techniques: the public names of the attacks that a reading may be about, as a bundled table.

ATLAS ids and names are those of release 5.6.0; OWASP ids are those of the Machine Learning Security Top 10 (2023);
NIST ids are those of AI 100-2 E2025. Names change over releases, so the release is stored with every alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

ATLAS_RELEASE: Final = "5.6.0"


class Family(StrEnum):
    """What kind of querying the evidence looks like."""

    NATURAL = "natural-data"
    SYNTHETIC = "synthetic-perturbation"
    RANDOM = "random/grid"
    BOUNDARY = "boundary walk"
    UNCERTAINTY = "uncertainty sampling"
    DIVERSE = "diverse sampling"
    UNCLEAR = "unclear"


_EXTRACTION: Final = (
    ("AML.T0024.002", "Extract AI Model", "MITRE ATLAS"),
    ("AML.T0005.001", "Train Proxy via Replication", "MITRE ATLAS"),
    ("AML.T0048.004", "AI Intellectual Property Theft", "MITRE ATLAS"),
    ("ML05:2023", "Model Theft", "OWASP ML Top 10"),
    ("NISTAML.031", "Model Extraction", "NIST AI 100-2 E2025"),
)
_PROBING: Final = (
    ("AML.T0043.001", "Black-Box Optimization", "MITRE ATLAS"),
    ("AML.T0042", "Verify Attack", "MITRE ATLAS"),
    ("ML01:2023", "Input Manipulation Attack", "OWASP ML Top 10"),
    ("NISTAML.025", "Black-box Evasion", "NIST AI 100-2 E2025"),
)
_BY_FAMILY: Final[Mapping[Family, tuple[tuple[str, str, str], ...]]] = {
    Family.NATURAL: _EXTRACTION,
    Family.RANDOM: _EXTRACTION,
    Family.UNCERTAINTY: _EXTRACTION,
    Family.DIVERSE: _EXTRACTION,
    Family.UNCLEAR: _EXTRACTION,
    Family.SYNTHETIC: _EXTRACTION + _PROBING,
    Family.BOUNDARY: _EXTRACTION + _PROBING,
}
BENIGN_EXPLANATIONS: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.NATURAL: (
        "a new customer segment, region or device behind this key",
        "a batch job that scores another data set",
        "a change of preprocessing on the client's side",
    ),
    Family.RANDOM: (
        "a quality-assurance or load-test key that sends made-up inputs",
        "a broken sensor or preprocessing step",
        "an agreed penetration test",
    ),
    Family.SYNTHETIC: (
        "a what-if tool or explanation method that varies one input at a time",
        "data augmentation or test-time augmentation on the client's side",
        "a video or sensor stream whose consecutive inputs are nearly equal",
    ),
    Family.BOUNDARY: (
        "a what-if tool or explanation method that varies one input at a time",
        "a robustness evaluation agreed with the model's owner",
    ),
    Family.UNCERTAINTY: (
        "a review queue that sends again only what the model was unsure of",
        "an active-learning or labelling project agreed with the model's owner",
        "a client whose cases are honestly the hard ones",
    ),
    Family.DIVERSE: (
        "a curated or deduplicated test set that is scored once",
        "a sample drawn to cover all kinds of input, such as for labelling or an audit",
        "a client that serves many end users whose inputs have nothing in common",
    ),
    Family.UNCLEAR: (
        "a new customer segment, region or device behind this key",
        "a quality-assurance key",
    ),
}


def techniques(family: Family) -> list[dict[str, str]]:
    """JSON-ready technique ids for a family, most specific first."""
    return [{"id": id_, "name": name, "source": source} for id_, name, source in _BY_FAMILY[family]]


class Misuse(StrEnum):
    """What a client does with the model besides copying or evading it."""

    SPONGE = "resource-intensive queries"
    WALLET = "excessive queries"
    RECONNAISSANCE = "reconnaissance"
    MEMBERSHIP = "membership probing"


_CONSUMPTION: Final = (
    ("AML.T0029", "Denial of AI Service", "MITRE ATLAS"),
    ("LLM10:2025", "Unbounded Consumption", "OWASP LLM Top 10"),
    ("NISTAML.014", "Energy-latency", "NIST AI 100-2 E2025"),
)
_BY_MISUSE: Final[Mapping[Misuse, tuple[tuple[str, str, str], ...]]] = {
    Misuse.SPONGE: (("AML.T0034.001", "Resource-Intensive Queries", "MITRE ATLAS"), *_CONSUMPTION),
    Misuse.WALLET: (("AML.T0034.000", "Excessive Queries", "MITRE ATLAS"), *_CONSUMPTION),
    Misuse.RECONNAISSANCE: (
        ("AML.T0013", "Discover AI Model Ontology", "MITRE ATLAS"),
        ("AML.T0014", "Discover AI Model Family", "MITRE ATLAS"),
        ("AML.T0063", "Discover AI Model Outputs", "MITRE ATLAS"),
    ),
    Misuse.MEMBERSHIP: (
        ("AML.T0024.000", "Infer Training Data Membership", "MITRE ATLAS"),
        ("ML04:2023", "Membership Inference Attack", "OWASP ML Top 10"),
        ("NISTAML.033", "Membership Inference", "NIST AI 100-2 E2025"),
    ),
}
MISUSE_EXPLANATIONS: Final[Mapping[Misuse, tuple[str, ...]]] = {
    Misuse.SPONGE: (
        "the client is far away or on a slow network, and latency is measured at its end",
        "a kind of input that is costly to answer and that the reference did not hold",
        "its requests are routed to a slower replica or region",
    ),
    Misuse.WALLET: (
        "a launch, a campaign or a new large customer behind this key",
        "a backfill or a batch job that runs for the first time",
        "a client that tries again and again without backing off",
    ),
    Misuse.RECONNAISSANCE: (
        "a client that is being developed against the live model, or a new release of it",
        "a what-if tool or explanation method that varies one input at a time",
        "an agreed test of quality or security",
    ),
    Misuse.MEMBERSHIP: (
        "a customer that scores known records again, from which the model was trained",
        "an evaluation or back-fill that runs over the training data",
        "training data that holds very common records",
    ),
}


def misuse_techniques(misuse: Misuse) -> list[dict[str, str]]:
    """JSON-ready technique ids of a misuse, most specific first."""
    return [{"id": id_, "name": name, "source": source} for id_, name, source in _BY_MISUSE[misuse]]
