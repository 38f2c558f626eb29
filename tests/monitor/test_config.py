"""Settings: defaults < file < environment, every fault at once, secrets never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, get_args

import pytest

from detectors.base import Kind
from monitor.config import AlertKind, Settings, load_settings
from monitor.errors import SettingsError

SECRET = "hunter2"
HOOK = '{"type": "webhook", "name": "hook", "url": "https://hooks.example/x"}'


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str = "", **variables: str) -> Settings:
    path = Path("settings.toml")
    path.write_text(text, encoding="utf-8")
    return load_settings(path, {f"VEDETTE_{name}": value for name, value in variables.items()})


def faults(text: str = "", **variables: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(text, **variables)
    assert raised.value.__cause__ is None
    return list(raised.value.faults)


class TestSources:
    def test_nothing_has_to_be_set(self) -> None:
        settings = load_settings(None, {})
        assert settings == Settings()
        assert settings.alarms_per_week == 1.0
        assert settings.kafka is None

    def test_the_environment_wins_over_the_file_and_the_file_over_defaults(self) -> None:
        settings = load("[web]\nhost = '::1'\nport = 1", WEB__PORT="2")
        assert (settings.web.host, settings.web.port) == ("::1", 2)
        assert settings.web.max_body_bytes == Settings().web.max_body_bytes

    def test_a_section_may_be_given_as_json_and_single_keys_still_win(self) -> None:
        settings = load("[judge]\nlateness_s = 9", JUDGE='{"interval_s": 2, "max_wait_s": 3}', JUDGE__MAX_WAIT_S="4")
        assert (settings.judge.lateness_s, settings.judge.interval_s, settings.judge.max_wait_s) == (9, 2, 4)

    @pytest.mark.parametrize("given", ["a,b", " a , b ", '["a", "b"]'])
    def test_a_list_is_json_or_has_commas(self, given: str) -> None:
        assert load(KAFKA__BOOTSTRAP_SERVERS="h:1", KAFKA__TOPICS=given).kafka.topics == ("a", "b")

    def test_one_key_of_an_item_of_a_list_can_come_from_the_environment(self) -> None:
        text = "[[destinations]]\ntype = 'slack'\nname = 'chat'\nurl = 'x'\n[web]\nport = 3"
        settings = load(text, DESTINATIONS__0__URL="https://hooks.example/secret")
        assert settings.destinations[0].url.get_secret_value() == "https://hooks.example/secret"

    def test_the_file_is_the_named_one_or_the_one_in_the_folder(self, tmp_path: Path) -> None:
        Path("vedette.toml").write_text("log_format = 'json'", encoding="utf-8")
        Path("other.toml").write_text("alarm_budget = '2/day'", encoding="utf-8")
        assert load_settings(None, {}).log_format == "json"
        assert load_settings(None, {"VEDETTE_CONFIG": "other.toml"}).alarms_per_week == 14
        assert load_settings(Path("vedette.toml"), {"VEDETTE_CONFIG": "other.toml"}).alarms_per_week == 1

    def test_settings_made_in_code_are_not_touched_by_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VEDETTE_DATABASE__URL", "postgresql://production/x")
        assert Settings().database.url.startswith("sqlite:///")
        assert load_settings(None).database.url == os.environ["VEDETTE_DATABASE__URL"]

    def test_what_kubernetes_says_of_its_services_is_no_setting(self) -> None:
        links = {
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "80",
            "SERVICE_PORT_HTTP": "80",
            "PORT": "tcp://10.0.0.1:80",
            "PORT_80_TCP": "tcp://10.0.0.1:80",
            "PORT_80_TCP_ADDR": "10.0.0.1",
            "WEB_SERVICE_HOST": "10.0.0.2",
            "WEB_PORT": "tcp://10.0.0.2:80",
            "WEB_PORT_80_TCP_PROTO": "tcp",
        }
        assert load(**links) == Settings()


class TestFaults:
    def test_all_are_reported_together_with_key_and_source(self) -> None:
        text = "[worker]\nflush_interval_s = 0\n[web]\nport = 'high'\n[judge]\nkeep_panes_days = 0"
        assert faults(text, ALARM_BUDGET="often", WEB__MAX_BODY_BYTES="1") == [
            "alarm_budget (VEDETTE_ALARM_BUDGET): alarm budget 'often': write a positive number per hour, day, week or "
            "month, e.g. 1/week",
            "worker.flush_interval_s: must be a number above 0, up to 60",
            "judge.keep_panes_days: must be a whole number from 1",
            "web.port: must be a whole number from 0, up to 65,535",
            "web.max_body_bytes (VEDETTE_WEB__MAX_BODY_BYTES): must be a whole number from 1,024, up to 268,435,456",
        ]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("log_fromat = 'json'", "log_fromat: there is no such setting; did you mean log_format?"),
            ("[web]\nprot = 1", "web.prot: there is no such setting; did you mean web.port?"),
            ("[kafak]\nx = 1", "kafak: there is no such setting; did you mean kafka?"),
            (
                "port = 1",
                "port: there is no such setting; there are alarm_budget, tolerance, exposure_limit, database, kafka",
            ),
            ("[database]\nport = 1", "database.port: there is no such setting; there are database.url"),
        ],
    )
    def test_an_unknown_key_names_the_nearest(self, text: str, said: str) -> None:
        [fault] = faults(text)
        assert fault.startswith(said)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("WEB_PORT", "web_port (VEDETTE_WEB_PORT): there is no such setting; did you mean VEDETTE_WEB__PORT?"),
            ("WEBB__PORT", "webb (VEDETTE_WEBB__PORT): there is no such setting; did you mean VEDETTE_WEB__PORT?"),
            ("WEB__TOKN", "web.tokn (VEDETTE_WEB__TOKN): there is no such setting; did you mean VEDETTE_WEB__TOKEN?"),
            ("LOG", "log (VEDETTE_LOG): there is no such setting; there are alarm_budget,"),
        ],
    )
    def test_an_unknown_variable_names_the_nearest(self, name: str, said: str) -> None:
        [fault] = faults(**{name: SECRET})
        assert fault.startswith(said)

    @pytest.mark.parametrize(
        ("destination", "said"),
        [
            ("type = 'slak'", "destinations[0].type: must be one of slack, webhook"),
            ("name = 'x'", "destinations[0].type: must be one of slack, webhook"),
            ("type = 'slack'\nname = 'x'", "destinations[0].url: is missing; it must be text, not empty"),
            (
                "type = 'webhook'\nname = 'x'\nurl = 'ftp://x'",
                "destinations[0].url: must be an address that starts with http:// or https://",
            ),
            (
                "type = 'slack'\nname = 'X'\nurl = 'x'",
                "destinations[0].name: must be a-z, 0-9, - and _, up to 63",
            ),
            (
                "type = 'slack'\nname = 'x'\nurl = 'x'\nurll = 'x'",
                "destinations[0].urll: there is no such setting; did you mean destinations[0].url?",
            ),
            (
                "type = 'slack'\nname = 'x'\nurl = 'x'\nmin_severity = 'fatal'",
                "destinations[0].min_severity: must be one of info, warning, critical",
            ),
            (
                "type = 'slack'\nname = 'x'\nurl = 'x'\nsend_resolved = 'perhaps'",
                "destinations[0].send_resolved: must be true or false",
            ),
            (
                "type = 'slack'\nname = 'x'\nurl = 'x'\nkinds = ['drfit']",
                f"destinations[0].kinds[0]: must be one of {', '.join(Kind)}",
            ),
        ],
    )
    def test_a_destination_says_what_it_takes(self, destination: str, said: str) -> None:
        assert faults(f"[[destinations]]\n{destination}") == [said]

    def test_destinations_need_names_of_their_own(self) -> None:
        assert faults(DESTINATIONS=f"[{HOOK}, {HOOK}]") == [
            "destinations (VEDETTE_DESTINATIONS): each destination needs a name of its own"
        ]

    def test_own_scores_need_names_of_their_own_and_functions(self) -> None:
        good = '[[scores]]\nname = "mine"\nfunction = "a.b:c"\n'
        assert faults(good * 2) == ["scores: each score needs a name of its own"]
        unsaid = faults('[[scores]]\nname = "mine"\nfunction = "a.b"')
        assert unsaid == ["scores[0].function: must be MODULE:FUNCTION or path/to/file.py:FUNCTION"]

    @pytest.mark.parametrize(
        ("variables", "said"),
        [
            ({"KAFKA__TOPICS": "a"}, "kafka.bootstrap_servers: is missing; it must be HOST:PORT, several with commas"),
            (
                {"KAFKA__BOOTSTRAP_SERVERS": "a:b"},
                "kafka.bootstrap_servers (VEDETTE_KAFKA__BOOTSTRAP_SERVERS): must be",
            ),
            ({"KAFKA__BOOTSTRAP_SERVERS": "a", "KAFKA__TOPICS": ""}, "must be a list of at least one item: text, not"),
            ({"KAFKA": "localhost:9092"}, "kafka (VEDETTE_KAFKA): must be a table"),
            ({"KAFKA": "{cut off"}, "kafka (VEDETTE_KAFKA): must be a table"),
            (
                {"KAFKA__BOOTSTRAP_SERVERS": "a", "KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_USERNAME": "me"},
                "security_protocol SASL_SSL needs sasl_mechanism, sasl_password too",
            ),
        ],
    )
    def test_kafka_says_what_it_takes(self, variables: Mapping[str, str], said: str) -> None:
        [fault] = faults(**variables)
        assert said in fault

    @pytest.mark.parametrize(
        ("text", "said"),
        [("[web", "settings.toml: not TOML: "), ("\udcff", "settings.toml: not UTF-8 (")],
    )
    def test_a_file_that_cannot_be_read_is_named(self, text: str, said: str) -> None:
        Path("settings.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(SettingsError) as raised:
            load_settings(Path("settings.toml"), {})
        assert raised.value.faults[0].startswith(said)

    @pytest.mark.parametrize("name", ["nowhere.toml", "."])
    def test_a_file_that_is_not_there_is_named(self, name: str) -> None:
        with pytest.raises(SettingsError, match="check"):
            load_settings(None, {"VEDETTE_CONFIG": name})


class TestSecrets:
    SET: ClassVar = {
        "DATABASE__URL": f"postgresql://user:{SECRET}@db/x",
        "WEB__TOKEN": SECRET,
        "KAFKA__BOOTSTRAP_SERVERS": "a:1",
        "KAFKA__SASL_PASSWORD": SECRET,
        "DESTINATIONS": f"""[
            {{"type": "webhook", "name": "hook", "url": "https://hooks.example/{SECRET}", "secret": "{SECRET}"}},
            {{"type": "slack", "name": "chat", "url": "https://hooks.example/{SECRET}"}}]""",
    }

    def test_none_is_in_what_settings_print_as(self) -> None:
        settings = load(**self.SET)
        assert SECRET not in f"{settings!r} {settings}"
        assert settings.web.token is not None
        assert settings.web.token.get_secret_value() == SECRET

    def test_none_is_in_a_fault(self) -> None:
        wrong = {
            "DATABASE__URL": f"postgresql://user:{SECRET}@db:{SECRET}/x",
            "WEB__TOKEN": f'["{SECRET}"]',
            "WEB__PUBLIC_URL": SECRET,
            "WEB__PORT": SECRET,
            "KAFKA": f'{{"bootstrap_servers": "{SECRET}:{SECRET}", "sasl_mechanism": "{SECRET}", "sasl_password": 1}}',
            "WORKER": SECRET,
            "DESTINATIONS": f"""[
                {{"type": "webhook", "name": "{SECRET} ", "url": "{SECRET}", "secret": ["{SECRET}"]}},
                {{"type": "{SECRET}", "url": "{SECRET}"}}]""",
        }
        found = faults(**wrong)
        assert len(found) == 12
        assert SECRET not in "\n".join(found)

    @pytest.mark.parametrize("password", ["a@b", "a/b", "a?b", "a#b", "a:1@b"])
    def test_a_password_that_is_not_escaped_is_told_how(self, password: str) -> None:
        [fault] = faults(DATABASE__URL=f"postgresql://user:{password}@db/x")
        assert "%40 for @" in fault
        assert password not in fault

    @pytest.mark.parametrize(
        "name", ["WEB__TOKEN", "KAFKA__SASL_PASSWORD", "DESTINATIONS__0__SECRET", "DESTINATIONS__1__URL"]
    )
    def test_an_empty_one_is_not_taken_for_one(self, name: str) -> None:
        [fault] = faults(**{**self.SET, name: ""})
        assert fault.endswith("must be text, not empty")


def test_the_kinds_of_alerts_are_the_detectors_kinds() -> None:
    assert get_args(AlertKind) == tuple(kind.value for kind in Kind)
