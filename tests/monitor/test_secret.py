"""The deployment's secret: made once, readable by its owner alone, never shown, and what is derived from it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from monitor.config import DatabaseSettings, Settings, load_settings
from monitor.errors import PermanentError, SettingsError
from monitor.secret import (
    FIXED_SEED,
    DeploymentSecret,
    configured_secret,
    deployment_secret,
    environment_secret,
    secret_path,
    seed_of,
)

VALUE = "0123456789abcdef" * 4


def embedded(tmp_path: Path) -> Settings:
    return Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'vedette.sqlite3'}"))


def test_an_embedded_deployment_makes_its_secret_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    assert deployment_secret(settings, create=False) is None
    first = deployment_secret(settings, create=True)
    path = secret_path(settings)
    assert first is not None
    assert path == tmp_path / "vedette.sqlite3.secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = deployment_secret(settings, create=True)
    assert again is not None
    assert again.key("x") == first.key("x")
    assert [p.name for p in tmp_path.iterdir()] == ["vedette.sqlite3.secret"]


def test_processes_that_start_at_once_have_the_same_secret(tmp_path: Path) -> None:
    settings, seeds = embedded(tmp_path), []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        secret = deployment_secret(settings, create=True)
        assert secret is not None
        seeds.append(secret.seed("x"))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seeds) == 4
    assert len(set(seeds)) == 1


def test_a_secret_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    deployment_secret(settings, create=True)
    path = secret_path(settings)
    assert path is not None
    path.chmod(0o644)
    with pytest.raises(PermanentError, match="chmod 600"):
        deployment_secret(settings, create=True)


def test_a_configured_secret_goes_before_the_file_and_makes_none(tmp_path: Path) -> None:
    settings = embedded(tmp_path).model_copy(update={"secret": SecretStr(VALUE)})
    found = deployment_secret(settings, create=True)
    assert found is not None
    assert found.key("x") == DeploymentSecret(VALUE).key("x")
    assert list(tmp_path.iterdir()) == []


def test_postgresql_has_no_secret_but_a_configured_one(tmp_path: Path) -> None:
    settings = Settings(database=DatabaseSettings(url="postgresql://u:p@h/n"))
    assert deployment_secret(settings, create=True) is None
    mounted = tmp_path / "mounted"
    mounted.write_text(VALUE + "\n")
    named = settings.model_copy(update={"secret_file": mounted})
    found = configured_secret(named)
    assert found is not None
    assert found.key("x") == DeploymentSecret(VALUE).key("x")


def test_the_environment_names_it_for_commands_without_settings(tmp_path: Path) -> None:
    assert environment_secret({}) is None
    mounted = tmp_path / "mounted"
    mounted.write_text(VALUE)
    by_value, by_file = (
        environment_secret({"VEDETTE_SECRET": VALUE}),
        environment_secret({"VEDETTE_SECRET_FILE": str(mounted)}),
    )
    assert by_value is not None
    assert by_file is not None
    assert by_value.seed("x") == by_file.seed("x")
    with pytest.raises(PermanentError, match="nowhere"):
        environment_secret({"VEDETTE_SECRET_FILE": str(tmp_path / "nowhere")})


def test_a_short_or_empty_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="openssl rand -hex 32"):
        DeploymentSecret("short")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(PermanentError, match="holds no secret"):
        environment_secret({"VEDETTE_SECRET_FILE": str(empty)})
    with pytest.raises(SettingsError) as raised:
        load_settings(None, {"VEDETTE_SECRET": "hunter2"})
    assert "hunter2" not in str(raised.value.faults)


def test_it_shows_nothing_of_itself() -> None:
    secret = DeploymentSecret(VALUE)
    settings = load_settings(None, {"VEDETTE_SECRET": VALUE})
    for shown in (repr(secret), str(secret), repr(settings), str(settings), settings.model_dump_json()):
        assert VALUE not in shown
        assert VALUE[:12] not in shown


def test_each_purpose_and_model_has_a_key_of_its_own() -> None:
    secret = DeploymentSecret(VALUE)
    keys = {secret.key(*words) for words in (("a",), ("b",), ("a", "b"), ("ab",), ("a", ""), ("a", "b", "c"))}
    assert len(keys) == 6
    assert secret.key("a", "b") == DeploymentSecret(VALUE).key("a", "b")
    assert secret.key("a") != DeploymentSecret(VALUE[::-1]).key("a")
    assert 0 <= secret.seed("reference", "m") < 2**63
    assert seed_of(secret, "m") == secret.seed("reference", "m") != seed_of(secret, "n")
    assert seed_of(None, "m") == FIXED_SEED


def test_a_folder_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "file").touch()
        settings = Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'file' / 'x.sqlite3'}"))
    else:
        tmp_path.chmod(0o500)
        settings = embedded(tmp_path)
    with pytest.raises(PermanentError, match="VEDETTE_SECRET"):
        deployment_secret(settings, create=True)
