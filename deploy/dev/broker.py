"""A one-node Apache Kafka (KRaft) on loopback, run with the machine's Java; fetched once with Maven into a cache."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
MIN_JAVA = 17
_FETCH_TIMEOUT_S = 900
_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 15


class Unavailable(Exception):
    """The service cannot be had on this machine; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Broker:
    """A running broker, its log and data in ``folder``; ``process`` when it is a child of this process."""

    bootstrap: str
    pid: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None


def kafka_version() -> str:
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)<", POM.read_text(encoding="utf-8"))
    assert found is not None, f"no Kafka in {POM.name}"
    return found[1]


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vedette"


def fetch() -> Path:
    """Folder with Kafka's jars, fetched with Maven unless it is there already.

    Raises:
        Unavailable: Java or Maven is missing or too old, or the artifacts cannot be fetched.
    """
    _check_java()
    jars = cache_folder() / f"kafka-{kafka_version()}"
    if jars.is_dir():
        return jars
    if shutil.which("mvn") is None:
        raise Unavailable("Apache Kafka is fetched with Maven, and there is no mvn: install the package `maven`")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=".fetching-") as staging:
        _copy_dependencies(Path(staging))
        try:
            (Path(staging) / "jars").rename(jars)
        except OSError:
            if not jars.is_dir():  # somebody else was faster: theirs is the same
                raise
    return jars


def start(folder: Path, *, port: int | None = None) -> Broker:
    """Start a broker that keeps its data in ``folder``, and wait until it answers.

    Args:
        port: where clients connect; None takes a free one.

    Raises:
        Unavailable: it cannot be fetched, or it did not answer in time; the message ends with its log.
    """
    jars = fetch()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    properties = folder / "server.properties"
    properties.write_text(_properties(folder, port, free_port()), encoding="utf-8")
    if not (folder / "data" / "meta.properties").exists():
        cluster_id = _java(jars, "kafka.tools.StorageTool", "random-uuid").splitlines()[-1]
        _java(jars, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties))
    with (folder / "broker.log").open("ab") as log:
        process = subprocess.Popen(
            [*_java_command(jars), "-Xmx512m", "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    broker = Broker(f"127.0.0.1:{port}", process.pid, folder, process)
    _wait_until_answering(broker, process, port)
    return broker


def stop(broker: Broker) -> None:
    """Stop the broker; does nothing when it is gone, or when its pid belongs to something else by now."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if not is_running(broker):
            return
        os.kill(broker.pid, kind)
        while is_running(broker) and time.monotonic() < deadline:
            time.sleep(0.05)


def kill(broker: Broker) -> None:
    """End the broker at once, as a crash would."""
    if is_running(broker):
        os.kill(broker.pid, signal.SIGKILL)
    while is_running(broker):
        time.sleep(0.02)


def is_running(broker: Broker) -> bool:
    if broker.process is not None:
        return broker.process.poll() is None
    listing = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(broker.pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return str(broker.folder / "server.properties") in listing.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check_java() -> None:
    hint = f"install Java {MIN_JAVA} or later, such as the package `openjdk-{MIN_JAVA}-jre-headless`"
    if shutil.which("java") is None:
        raise Unavailable(f"Apache Kafka needs Java, and there is none: {hint}")
    answer = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    if found is None or int(found[1]) < MIN_JAVA:
        raise Unavailable(f"Apache Kafka needs Java {MIN_JAVA}, and this is {found[1] if found else 'unknown'}: {hint}")


def _copy_dependencies(staging: Path) -> None:
    shutil.copy(POM, staging / "pom.xml")
    command = ["mvn", "-B", "-q", "-C", "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", "-DoutputDirectory=jars"]
    try:
        run = subprocess.run(
            [*command, *options], cwd=staging, capture_output=True, text=True, check=False, timeout=_FETCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"Maven did not fetch Apache Kafka within {_FETCH_TIMEOUT_S} s: try again") from error
    if run.returncode != 0:
        raise Unavailable(f"Maven could not fetch Apache Kafka {kafka_version()}:\n{_tail(run.stdout + run.stderr)}")


def _java_command(jars: Path) -> list[str]:
    return ["java", "-cp", f"{jars}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


def _java(jars: Path, *arguments: str) -> str:
    run = subprocess.run(
        [*_java_command(jars), *arguments], capture_output=True, text=True, check=False, timeout=_START_TIMEOUT_S
    )
    if run.returncode != 0:
        raise Unavailable(f"{arguments[0]} failed:\n{_tail(run.stdout + run.stderr)}")
    return run.stdout.strip()


def _wait_until_answering(broker: Broker, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    stop(broker)
    log = (broker.folder / "broker.log").read_text(encoding="utf-8", errors="replace")
    raise Unavailable(
        f"Kafka did not answer on {broker.bootstrap} within {_START_TIMEOUT_S} s. Its log ends:\n{_tail(log)}"
    )


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])


def _properties(folder: Path, port: int, controller_port: int) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())
