"""What the API answers over real HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from structlog.testing import capture_logs

from monitor.api.app import ApiSettings
from monitor.errors import PermanentError, TransientError
from monitor.storage import tables as t

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
GOOD = b'{"model": "m", "features": {"x": 1}}'


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"].startswith("urn:vedette:problem:")
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


class Broken:
    """Queries that fail in the way given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise self.error

        return fail


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status"),
    [
        pytest.param("GET", "/api/v1/typo", {}, 404, id="no such address"),
        pytest.param("GET", "/api/", {}, 404, id="the root"),
        pytest.param("GET", "/api/v1/alerts/", {}, 404, id="a slash too many"),
        pytest.param("GET", "/api/v1/alerts/none", {}, 404, id="no such alert"),
        pytest.param("GET", "/api/v1/models/none", {}, 404, id="no such model"),
        pytest.param("DELETE", "/api/v1/alerts", {}, 405, id="no such method"),
        pytest.param("GET", "/api/v1/events", {}, 405, id="events cannot be read"),
        pytest.param("GET", "/api/v1/alerts?limit=0", {}, 422, id="limit below"),
        pytest.param("GET", "/api/v1/alerts?limit=1001", {}, 422, id="limit above"),
        pytest.param("GET", "/api/v1/alerts?kind=weather", {}, 422, id="unknown kind"),
        pytest.param("GET", "/api/v1/alerts?cursor=x", {}, 422, id="foreign cursor"),
        pytest.param("GET", "/api/v1/dead-letters?cursor=%C3%A9", {}, 422, id="cursor beyond ASCII"),
        pytest.param("GET", "/api/v1/readings?model=m", {}, 422, id="missing range"),
        pytest.param("POST", "/api/v1/alerts/a0/resolve", {"json": {}}, 422, id="nobody decides"),
        pytest.param("POST", "/api/v1/alerts/a0/resolve", {"json": {"by": "a", "x": 1}}, 422, id="unknown field"),
        pytest.param("POST", "/api/v1/alerts/a0/resolve", {"json": {"by": "\x00"}}, 422, id="U+0000"),
        pytest.param("POST", "/api/v1/alerts/a0/resolve", {"content": b"{", "headers": JSON}, 422, id="broken JSON"),
        pytest.param("POST", "/api/v1/alerts/a0/resolve", {"content": b"\xff", "headers": JSON}, 400, id="not UTF-8"),
        pytest.param("POST", "/api/v1/alerts/none/resolve", {"json": {"by": "ada"}}, 404, id="resolving nothing"),
        pytest.param("POST", "/api/v1/alerts/none/dismiss", {"json": {"by": "ada"}}, 404, id="dismissing nothing"),
        pytest.param("POST", "/api/v1/alerts/a0/mark", {"json": {"by": "ada"}}, 422, id="no verdict"),
        pytest.param("POST", "/api/v1/alerts/a0/mark", {"json": {"by": "a", "verdict": "x"}}, 422, id="odd verdict"),
        pytest.param("POST", "/api/v1/events", {"content": GOOD}, 415, id="no content type"),
        pytest.param("POST", "/api/v1/events", {"data": {"a": "b"}}, 415, id="a form"),
        pytest.param("POST", "/api/v1/events", {"content": b"{", "headers": JSON}, 400, id="half an event"),
        pytest.param("POST", "/api/v1/events", {"content": b" ", "headers": JSON}, 400, id="no event"),
        pytest.param(
            "POST", "/api/v1/events", {"content": GOOD, "headers": {**JSON, "Content-Encoding": "gzip"}}, 415, id="gzip"
        ),
    ],
)
def test_every_error_is_a_problem(stocked: Any, method: str, path: str, kwargs: dict[str, Any], status: int) -> None:
    assert_problem(stocked.client.request(method, path, **kwargs), status)


def test_a_validation_problem_lists_each_fault_without_its_value(site: Any) -> None:
    body = assert_problem(site.client.get("/api/v1/alerts?limit=hunter2&severity=hunter2"), 422)
    assert {fault["location"] for fault in body["errors"]} == {"query.limit", "query.severity.0"}
    assert "hunter2" not in str(body)


def test_a_method_problem_lists_those_allowed(site: Any) -> None:
    assert site.client.delete("/api/v1/overview").headers["allow"] == "GET"


class TestToken:
    @pytest.mark.parametrize(
        "headers",
        [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}, {"Authorization": "s3cret"}],
    )
    @pytest.mark.parametrize("path", ["/api/v1/overview", "/api/v1/typo", "/api/v1/openapi.json"])
    def test_without_it_nothing_is_told(
        self, open_site: Callable[..., Any], headers: dict[str, str], path: str
    ) -> None:
        with open_site(ApiSettings(token=SecretStr("s3cret"))) as site:
            response = site.client.get(path, headers=headers)
            assert_problem(response, 401)
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert "s3cret" not in response.text

    def test_with_it_all_is_open(self, open_site: Callable[..., Any]) -> None:
        with open_site(ApiSettings(token=SecretStr("s3cret"))) as site:
            for scheme in ("Bearer", "bearer"):
                response = site.client.get("/api/v1/overview", headers={"Authorization": f"{scheme} s3cret"})
                assert response.status_code == 200

    def test_health_and_metrics_never_ask_for_it(self, open_site: Callable[..., Any]) -> None:
        with open_site(ApiSettings(token=SecretStr("s3cret"))) as site:
            assert [site.client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3

    def test_it_does_not_print(self) -> None:
        assert "s3cret" not in repr(ApiSettings(token=SecretStr("s3cret")))


class TestFailures:
    def test_a_database_that_is_away_is_503(self, open_site: Callable[..., Any]) -> None:
        with open_site(queries=Broken(TransientError("postgres://db is away"))) as site:
            response = site.client.get("/api/v1/overview")
            body = assert_problem(response, 503)
            assert int(response.headers["retry-after"]) > 0
            assert "postgres" not in str(body)
            assert_not_ready(site.client.get("/readyz"))

    @pytest.mark.parametrize("error", [RuntimeError("secret inside"), PermanentError("secret inside")])
    def test_a_crash_is_500_and_keeps_the_cause_to_itself(
        self, open_site: Callable[..., Any], error: Exception
    ) -> None:
        with capture_logs() as logs, open_site(queries=Broken(error)) as site:
            response = site.client.get("/api/v1/overview", headers={"X-Request-Id": "mine-1"})
            body = assert_problem(response, 500)
            assert [(line["event"], line["exc_info"]) for line in logs] == [("request_failed", True)]
            assert body["request_id"] == "mine-1"
            assert "secret" not in response.text
            assert "Traceback" not in response.text

    def test_a_request_id_that_is_not_plain_is_replaced(self, site: Any) -> None:
        response = site.client.get("/api/v1/overview", headers={"X-Request-Id": "a b<script>"})
        assert response.headers["x-request-id"].isalnum()


def assert_not_ready(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert response.json() == {"status": "failing", "checks": {"database": "failing"}}


class TestEvents:
    @pytest.mark.parametrize(
        ("content", "content_type", "kept"),
        [
            (GOOD, "application/json", 1),
            (GOOD, "application/json; charset=utf-8", 1),
            (b"[" + GOOD + b" , " + GOOD + b"]", "application/json", 2),
            (GOOD + b"\n\n" + GOOD + b"\r\n", "application/x-ndjson", 2),
            (GOOD + b"\n" + GOOD, "application/json", 2),
            (b"[]", "application/json", 0),
        ],
    )
    def test_good_ones_are_kept_as_they_were_written(
        self, site: Any, content: bytes, content_type: str, kept: int
    ) -> None:
        response = site.client.post("/api/v1/events", content=content, headers={"Content-Type": content_type})
        assert response.status_code == 202
        assert response.json() == {"accepted": kept, "rejected": []}
        with site.engine.connect() as conn:
            assert list(conn.scalars(sa.select(t.ingest_queue.c.value))) == [GOOD] * kept

    def test_bad_ones_are_reported_and_the_others_kept(self, site: Any) -> None:
        lines = [GOOD, b"nonsense", b'{"features": {"x": 1}}', GOOD, b"[1]", b'{"model": "m"}']
        response = site.client.post(
            "/api/v1/events", content=b"\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
        )
        assert response.status_code == 202
        body = response.json()
        assert body["accepted"] == 2
        assert [(item["row"], item["reason"]) for item in body["rejected"]] == [
            (1, "wrong_type"),
            (2, "missing_field"),
            (4, "wrong_type"),
            (5, "nothing_to_monitor"),
        ]
        assert all(item["message"] for item in body["rejected"])
        assert site.scalar(sa.select(sa.func.count()).select_from(t.ingest_queue)) == 2
        assert site.metrics.registry.get_sample_value("vedette_ingested_events_total", {"outcome": "rejected"}) == 4

    def test_too_large_a_body_is_refused_whether_or_not_it_tells_its_length(
        self, open_site: Callable[..., Any]
    ) -> None:
        with open_site(ApiSettings(max_body_bytes=2_000)) as site:
            for content in (GOOD * 100, iter([GOOD] * 100)):
                response = site.client.post("/api/v1/events", content=content, headers=JSON)
                assert "2000 bytes" in assert_problem(response, 413)["detail"]
            decision = {"by": "ada", "note": "x" * 3_000}
            assert_problem(site.client.post("/api/v1/alerts/a0/resolve", json=decision), 413)
            assert site.client.post("/api/v1/events", content=GOOD, headers=JSON).status_code == 202

    def test_too_many_events_are_refused(self, open_site: Callable[..., Any]) -> None:
        with open_site(ApiSettings(max_events=2)) as site:
            response = site.client.post("/api/v1/events", content=b"[1,2,3]", headers=JSON)
            assert "at most 2" in assert_problem(response, 413)["detail"]

    def test_an_event_larger_than_workers_read_is_rejected(self, open_site: Callable[..., Any]) -> None:
        with open_site(ApiSettings(max_event_bytes=50)) as site:
            event = {"model": "m", "features": {"x": "y" * 100}}
            (rejected,) = site.client.post("/api/v1/events", json=event).json()["rejected"]
            assert rejected["reason"] == "oversized"


class TestReading:
    def test_alerts_are_walked_page_by_page(self, stocked: Any) -> None:
        seen: list[str] = []
        params: dict[str, Any] = {"limit": 2}
        while True:
            page = stocked.client.get("/api/v1/alerts", params=params).json()
            seen += [row["id"] for row in page["alerts"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert seen == ["a1", "a0", "a3", "a2", "a5", "a4", "a6"]

    @pytest.mark.parametrize(
        ("query", "n"),
        [("kind=ood", 3), ("kind=ood&kind=drift", 7), ("severity=critical", 1), ("search=TITLE+3", 1),
         ("model=other", 0), ("status=resolved", 0), ("status=open&kind=ood&search=it", 3),
         ("verdict=none", 7), ("verdict=real&verdict=false_alarm", 0)],
    )  # fmt: skip
    def test_alerts_are_filtered(self, stocked: Any, query: str, n: int) -> None:
        assert len(stocked.client.get(f"/api/v1/alerts?{query}").json()["alerts"]) == n

    def test_a_model_comes_with_its_reference_and_budget(self, stocked: Any) -> None:
        first = stocked.client.get("/api/v1/models/fraud", params={"version": "1"}).json()
        assert (first["model"]["status"], first["model"]["open_alerts"]) == ("alarm", 7)
        assert first["reference"] == {"columns": 3}
        week = first["budget"]["last_week"]
        assert (week["alerts"], week["false_alarms"], week["unmarked"]) == (7, 0, 7)
        assert week["false_alarms_per_week"] is None
        assert first["event_range"] is None
        assert first["versions"] == ["1", "2"]
        assert stocked.client.get("/api/v1/models/fraud").json()["model"]["version"] == "2"
        assert len(stocked.client.get("/api/v1/models").json()["models"]) == 2

    def test_a_model_name_may_hold_a_slash(self, site: Any) -> None:
        seen_at = datetime(2026, 3, 2, tzinfo=UTC)
        site.insert(t.models, {"model": "team/fraud", "version": "", "first_seen_at": seen_at, "events_total": 0})
        assert site.client.get("/api/v1/models/team%2Ffraud").json()["model"]["model"] == "team/fraud"

    def test_dead_letters_are_paged(self, stocked: Any) -> None:
        first = stocked.client.get("/api/v1/dead-letters?limit=2").json()
        second = stocked.client.get("/api/v1/dead-letters", params={"cursor": first["next_cursor"]}).json()
        assert [row["offset"] for row in first["dead_letters"] + second["dead_letters"]] == [2, 1, 0]
        assert second["next_cursor"] is None

    def test_overview_counts(self, stocked: Any) -> None:
        overview = stocked.client.get("/api/v1/overview").json()
        assert overview["open_alerts"] == {"critical": 1, "warning": 6}
        assert (overview["models"], overview["dead_letters_total"]) == (2, 3)
        assert stocked.client.get("/api/v1/health").json()["partitions"] == []

    def test_a_range_without_data_is_empty(self, stocked: Any) -> None:
        params = {"model": "fraud", "version": "1", "since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}
        assert stocked.client.get("/api/v1/readings", params=params).json() == {"readings": []}
        assert stocked.client.get("/api/v1/volume", params=params).json() == {"points": []}


class TestDecisions:
    def test_an_alert_is_acknowledged_then_resolved_and_both_are_told(self, stocked: Any) -> None:
        taken = stocked.client.post("/api/v1/alerts/a0/acknowledge", json={"by": "ada", "note": "mine"})
        assert (taken.status_code, taken.json()["status"], taken.json()["acknowledged_by"]) == (
            200,
            "acknowledged",
            "ada",
        )
        assert stocked.client.post("/api/v1/alerts/a0/resolve", json={"by": "bob"}).json()["status"] == "resolved"
        detail = stocked.client.get("/api/v1/alerts/a0").json()
        assert [(row["transition"], row["actor"], row["note"]) for row in detail["transitions"]] == [
            ("acknowledged", "ada", "mine"),
            ("resolved", "bob", ""),
        ]
        assert detail["alert"]["status"] == "resolved"
        assert detail["deliveries"] == []

    def test_a_verdict_counts_in_the_budget_until_it_is_taken_back(self, stocked: Any) -> None:
        def false_alarms() -> int:
            return int(
                stocked.client.get("/api/v1/models/fraud?version=1").json()["budget"]["last_week"]["false_alarms"]
            )

        said = {"by": "ada", "note": "a load test", "verdict": "false_alarm"}
        marked = stocked.client.post("/api/v1/alerts/a0/mark", json=said).json()
        assert (marked["verdict"], marked["verdict_by"], marked["status"]) == ("false_alarm", "ada", "open")
        assert false_alarms() == 1
        assert_problem(stocked.client.post("/api/v1/alerts/a0/mark", json=said), 409)
        back = stocked.client.post("/api/v1/alerts/a0/mark", json={"by": "ada", "verdict": None}).json()
        assert (back["verdict"], back["verdict_by"], back["verdict_at"]) == (None, None, None)
        assert false_alarms() == 0
        steps = stocked.client.get("/api/v1/alerts/a0").json()["transitions"]
        assert [row["transition"] for row in steps] == ["marked_false_alarm", "unmarked"]

    def test_dismissing_resolves_as_well(self, stocked: Any) -> None:
        gone = stocked.client.post("/api/v1/alerts/a0/dismiss", json={"by": "ada", "note": "a load test"}).json()
        assert (gone["verdict"], gone["status"]) == ("false_alarm", "resolved")
        detail = stocked.client.get("/api/v1/alerts/a0").json()
        assert [row["transition"] for row in detail["transitions"]] == ["marked_false_alarm", "resolved"]
        assert_problem(stocked.client.post("/api/v1/alerts/a0/dismiss", json={"by": "ada"}), 409)
        changed = stocked.client.post("/api/v1/alerts/a0/mark", json={"by": "bob", "verdict": "real"}).json()
        assert (changed["verdict"], changed["status"]) == ("real", "resolved")

    def test_what_is_resolved_stays_so(self, stocked: Any) -> None:
        assert stocked.client.post("/api/v1/alerts/a0/resolve", json={"by": "ada"}).status_code == 200
        for verb in ("resolve", "acknowledge"):
            assert_problem(stocked.client.post(f"/api/v1/alerts/a0/{verb}", json={"by": "ada"}), 409)
