"""Figures are pure, bounded, and harmless whatever the names are."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from dashboard import figures
from dashboard.detail import Comparison, Interval, Metric
from dashboard.theme import PALETTES, Scheme
from monitor.queries import ReadingRow, VolumePoint

START = datetime(2026, 3, 4, tzinfo=UTC)


def reading(minute=0, log_evidence=1.0, threshold=10.0, detector="drift", subject="", level="ok"):
    return ReadingRow(
        detector=detector,
        kind="drift",
        subject_type="client" if subject else "model",
        subject_id=subject,
        pane_start=START + timedelta(minutes=minute),
        pane_s=60,
        level=level,
        log_evidence=log_evidence,
        log_threshold=threshold,
        effect=0.1,
        effect_unit="share of traffic",
        reason="",
    )


@pytest.mark.parametrize("scheme", Scheme)
def test_every_figure_takes_its_colours_from_the_scheme(scheme):
    picture = figures.alert_evidence([reading()], 10.0, [], scheme)
    assert picture.figure.layout.template.layout.font.color == PALETTES[scheme].text
    assert picture.figure.data[0].line.color == PALETTES[scheme].current


def test_volume_bars_are_as_wide_as_their_slice_and_stand_in_its_middle():
    points = [VolumePoint(START + timedelta(minutes=2 * i), i) for i in range(5)]
    picture = figures.volume(points, [], Scheme.LIGHT)
    bars = picture.figure.data[0]
    assert bars.width == 120_000
    assert bars.x[0] == "2026-03-04T00:01:00.000"
    assert picture.summary.startswith("10 events from 4 Mar 2026")


def test_an_empty_chart_says_that_it_is_empty():
    assert figures.volume([], [], Scheme.LIGHT).summary == "No events in this time range."
    assert "No readings" in figures.alert_evidence([], 10.0, [], Scheme.LIGHT).summary
    assert figures.detector_evidence([], [], Scheme.LIGHT).summary == "No readings in this time range."


def test_alerts_are_shaded_from_start_to_end():
    span = figures.Span(START, START + timedelta(hours=1), "critical", "t")
    shape = figures.volume([], [span], Scheme.LIGHT).figure.layout.shapes[0]
    assert (shape.x0, shape.x1) == ("2026-03-04T00:00:00.000", "2026-03-04T01:00:00.000")


@pytest.mark.parametrize("evidence", [-math.inf, math.nan, math.inf, 1e300, -50.0])
def test_extreme_evidence_stays_inside_the_picture(evidence):
    picture = figures.alert_evidence([reading(0, evidence), reading(1, 3.0)], 10.0, [], Scheme.DARK)
    low, high = picture.figure.layout.yaxis.range
    assert all(low <= y <= high for y in picture.figure.data[0].y)
    detectors = figures.detector_evidence([reading(0, evidence)], [], Scheme.DARK)
    assert all(0 <= y <= figures.TOP_SHARE for y in detectors.figure.data[0].y)


def test_the_alarm_threshold_is_drawn_and_named():
    picture = figures.alert_evidence([reading()], math.log(1e6), [], Scheme.LIGHT)
    assert picture.figure.layout.annotations[0].text == "alarm at 1 million : 1"
    line = next(shape for shape in picture.figure.layout.shapes if shape.type == "line")
    assert line.y0 == pytest.approx(6.0)


def test_decimation_keeps_order_and_the_highest_peak():
    rows = [reading(minute, 9.0 if minute == 777 else 1.0) for minute in range(5_000)]
    kept = figures.peaks(rows, 100)
    assert len(kept) == 100
    assert max(row.log_evidence for row in kept) == 9.0
    assert [row.pane_start for row in kept] == sorted(row.pane_start for row in kept)


def test_a_detector_is_as_near_to_an_alarm_as_its_nearest_subject():
    rows = [reading(0, 2.0, subject="a"), reading(0, 8.0, subject="b"), reading(0, 5.0, detector="ood")]
    best = figures.strongest(rows)
    assert [row.log_evidence for row in best["drift"]] == [8.0]
    picture = figures.detector_evidence(rows, [], Scheme.LIGHT)
    assert [trace.name for trace in picture.figure.data] == ["drift", "ood"]
    assert "drift is 80% of the way" in picture.summary


def test_markup_in_names_is_shown_and_not_obeyed():
    data = Comparison("t", ("<a href='https://evil'>x</a>", "<b>y</b>", "%{x}"), (0.5, 0.3, 0.2), (0.1, 0.4, 0.5))
    picture = figures.comparison(data, "reference", "now", Scheme.LIGHT)
    labels = picture.figure.data[0].x
    assert all("<" not in label and "%{" not in label for label in labels)
    rows = [reading(detector="<script>alert(1)</script>")]
    assert "<" not in figures.detector_evidence(rows, [], Scheme.LIGHT).figure.data[0].name


def test_equal_labels_stay_apart():
    data = Comparison("t", ("a" * 100, "a" * 101), (0.5, 0.5), (0.9, 0.1))
    labels = figures.comparison(data, "reference", "now", Scheme.LIGHT).figure.data[0].x
    assert len(set(labels)) == 2


def test_a_comparison_names_its_largest_change():
    data = Comparison("t", ("low", "high"), (0.5, 0.5), (0.9, 0.1))
    summary = figures.comparison(data, "reference", "now", Scheme.LIGHT).summary
    assert summary == "Largest change: low holds 90 % (now) against 50 % (reference)."


ACCURACY = Metric("accuracy", 0.92, Interval(0.81, 0.78, 0.84), Interval(0.80, 0.77, 0.83), 1_204)
RECALL = Metric("recall", 0.71, None, Interval(0.44, 0.35, 0.53), 118)
ERROR = Metric("mean absolute error", 212.0, Interval(340.0, 300.0, 391.0), None, None)


def test_metrics_show_each_value_between_its_limits():
    figure = figures.metrics([ACCURACY, RECALL], Scheme.LIGHT).figure
    reference, estimated, measured = figure.data
    assert (reference.x, reference.y) == ((0.92, 0.71), (0, 1))
    assert estimated.x == (0.81,)
    assert measured.x == (0.80, 0.44)
    assert measured.error_x.array == pytest.approx((0.03, 0.09))
    assert measured.error_x.arrayminus == pytest.approx((0.03, 0.09))
    assert estimated.y[0] < reference.y[0] < measured.y[0], "side by side, not on top of each other"


def test_metrics_are_summed_up_by_the_one_furthest_from_its_reference():
    summary = figures.metrics([ACCURACY, RECALL], Scheme.LIGHT).summary
    assert summary == "Recall is measured at 0.44 (0.35 to 0.53); in the reference it was 0.71."
    estimated = figures.metrics([Metric("auc", 0.9, Interval(0.8, 0.7, 0.9), None, None)], Scheme.LIGHT).summary
    assert estimated.startswith("Auc is estimated at 0.8 ")
    assert "nothing in the reference" in figures.metrics([Metric("m", None, None, None, None)], Scheme.LIGHT).summary


def test_only_metrics_between_0_and_1_share_a_picture():
    nothing = Metric("m", None, None, None, None)
    assert figures.metrics_as_shares([ACCURACY, ERROR, nothing, RECALL]) == [ACCURACY, RECALL]


def test_a_detector_has_the_same_line_whichever_others_there_are():
    alone = figures.detector_evidence([reading(detector="quality")], [], Scheme.LIGHT).figure.data[0]
    among = figures.detector_evidence(
        [reading(detector=name) for name in ("drift", "ood", "quality", "something")], [], Scheme.LIGHT
    ).figure.data
    quality = next(trace for trace in among if trace.name == "quality")
    assert alone.line == quality.line
    assert len({(trace.line.color, trace.line.dash) for trace in among}) == 4
