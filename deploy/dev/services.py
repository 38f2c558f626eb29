"""Kafka and PostgreSQL for development: ``python -m deploy.dev.services start|stop|status``.

Both run in the background on loopback and keep what they hold in ``var/dev``.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from pathlib import Path

from deploy.dev import broker, postgres

FOLDER = Path(__file__).resolve().parents[2] / "var" / "dev"
TOPIC = "inference-logs"
PARTITIONS = 4
_TOPIC_TIMEOUT_S = 30


def start() -> None:
    running = _running_broker() or _start_broker()
    _create_topic(running.bootstrap)
    print(f"Kafka {broker.kafka_version()} on {running.bootstrap}, topic {TOPIC} with {PARTITIONS} partitions")
    url = _running_postgres() or _start_postgres()
    print("PostgreSQL on " + url.partition("@")[2].partition("/")[0])
    print(_settings(running.bootstrap, url))


def stop() -> None:
    found = _running_broker()
    if found is not None:
        broker.stop(found)
        print("Kafka stopped")
    if postgres.is_running(FOLDER / "postgres"):
        postgres.stop(FOLDER / "postgres")
        print("PostgreSQL stopped")
    _state_file("kafka").unlink(missing_ok=True)
    _state_file("postgres").unlink(missing_ok=True)


def status() -> None:
    found = _running_broker()
    print(f"Kafka: {found.bootstrap if found else 'stopped'}")
    print(f"PostgreSQL: {_running_postgres() or 'stopped'}")


def _start_broker() -> broker.Broker:
    started = broker.start(FOLDER / "kafka", port=_preferred_port(9092))
    _save("kafka", {"bootstrap": started.bootstrap, "pid": started.pid})
    return started


def _running_broker() -> broker.Broker | None:
    state = _load("kafka")
    if state is None:
        return None
    found = broker.Broker(state["bootstrap"], int(state["pid"]), FOLDER / "kafka")
    return found if broker.is_running(found) else None


def _start_postgres() -> str:
    started = postgres.start(FOLDER / "postgres", port=_preferred_port(5432))
    _save("postgres", {"url": started.url})
    return started.url


def _running_postgres() -> str | None:
    state = _load("postgres")
    return state["url"] if state and postgres.is_running(FOLDER / "postgres") else None


def _create_topic(bootstrap: str) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    deadline = time.monotonic() + _TOPIC_TIMEOUT_S
    while True:
        try:
            admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=10_000)
            try:
                admin.create_topics({TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 1}}, timeout_ms=10_000)
            finally:
                admin.close()
        except TopicAlreadyExistsError:
            return
        except KafkaError as error:
            if time.monotonic() > deadline:
                raise broker.Unavailable(f"Kafka on {bootstrap} did not create topic {TOPIC}: {error}") from error
            time.sleep(0.2)
        else:
            return


def _settings(bootstrap: str, url: str) -> str:
    return f"""
Settings as environment variables:

export VEDETTE_KAFKA__BOOTSTRAP_SERVERS={bootstrap}
export VEDETTE_DATABASE__URL={url}

or in vedette.toml:

[kafka]
bootstrap_servers = "{bootstrap}"
topics = ["{TOPIC}"]

[database]
url = "{url}"
"""


def _preferred_port(port: int) -> int | None:
    """The customary port if nothing has it, else None, which takes a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
    return port


def _state_file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _save(name: str, state: dict[str, str | int]) -> None:
    _state_file(name).write_text(json.dumps(state), encoding="utf-8")


def _load(name: str) -> dict[str, str] | None:
    try:
        return json.loads(_state_file(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    actions = {"start": start, "stop": stop, "status": status}
    if len(arguments) != 1 or arguments[0] not in actions:
        print(f"usage: python -m deploy.dev.services {'|'.join(actions)}", file=sys.stderr)
        return 2
    if shutil.which("ps") is None:
        print("the command `ps` is missing: install the package `procps`", file=sys.stderr)
        return 1
    try:
        actions[arguments[0]]()
    except broker.Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
