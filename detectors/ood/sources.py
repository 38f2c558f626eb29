"""The sources, in the order in which their components are kept. A new kind of input is one file and one line here."""

from __future__ import annotations

from detectors.ood.base import Source
from detectors.ood.embeddings import EmbeddingSource
from detectors.ood.features import FeatureSource
from detectors.ood.outputs import LogitSource, ProbabilitySource
from detectors.ood.own import OwnSource

SOURCES: tuple[type[Source], ...] = (FeatureSource, EmbeddingSource, LogitSource, ProbabilitySource, OwnSource)
