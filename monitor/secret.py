"""The deployment's secret: what seeds and hash keys are derived from, so that knowing the code is not knowing them.

Whoever knows the random features, hyperplanes and hash keys of a detector can look for queries that it does not see.
So each deployment derives its own from a secret: ``VEDETTE_SECRET`` (or the file that ``secret_file`` names) where it
is set, else, with an embedded database, a file beside it that is made at first start and that only its owner can read.
The secret is never logged or printed, and never leaves this module but through derivation.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from monitor.config import Settings
from monitor.errors import PermanentError

FIXED_SEED: Final = 0
"""Seed of everything random in fitting where no secret is configured: the same everywhere."""
_LEAST_CHARACTERS: Final = 32
_LEAST_BYTES: Final = 16
_ROOT: Final = b"vedette deployment secret v1"


class DeploymentSecret:
    """Derives independent keys and seeds, one for each purpose; shows nothing of itself."""

    __slots__ = ("_key",)

    def __init__(self, value: str) -> None:
        """``value``: at least 32 characters, best 64 random hexadecimal ones.

        Raises:
            PermanentError: it is shorter.
        """
        if len(value) < _LEAST_CHARACTERS:
            raise PermanentError(
                f"the deployment's secret has fewer than {_LEAST_CHARACTERS} characters; "
                "make one with `openssl rand -hex 32`"
            )
        self._key = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=_ROOT, digest_size=64).digest()

    def __repr__(self) -> str:
        return "DeploymentSecret('**********')"

    def key(self, purpose: str, *context: str, n_bytes: int = 32) -> bytes:
        """A key that is used for ``purpose`` within ``context`` (a model's name, say) and nothing else."""
        hashed = hashlib.blake2b(key=self._key, digest_size=n_bytes)
        for word in (purpose, *context):
            raw = word.encode("utf-8", "surrogatepass")
            hashed.update(len(raw).to_bytes(8, "little") + raw)
        return hashed.digest()

    def seed(self, purpose: str, *context: str) -> int:
        """A seed in [0, 2**63); see ``key``."""
        return int.from_bytes(self.key(purpose, *context, n_bytes=8), "little") >> 1


def configured_secret(settings: Settings) -> DeploymentSecret | None:
    """The secret that the settings name; None where they name none.

    Raises:
        PermanentError: the file cannot be read, or the secret is too short.
    """
    if settings.secret is not None:
        return DeploymentSecret(settings.secret.get_secret_value())
    return None if settings.secret_file is None else DeploymentSecret(_read(settings.secret_file))


def environment_secret(environment: Mapping[str, str] = os.environ) -> DeploymentSecret | None:
    """The secret that the environment names, for commands that read no settings; None where it names none.

    Raises:
        PermanentError: the file cannot be read, or the secret is too short.
    """
    if value := environment.get("VEDETTE_SECRET"):
        return DeploymentSecret(value)
    named = environment.get("VEDETTE_SECRET_FILE")
    return DeploymentSecret(_read(Path(named))) if named else None


def deployment_secret(settings: Settings, create: bool) -> DeploymentSecret | None:
    """The deployment's secret: the configured one, else that beside an embedded database.

    Args:
        create: make the file beside the embedded database if it is not there yet, as at first start.

    Returns:
        None where there is none: on PostgreSQL it has to be configured, since every process needs the same one.

    Raises:
        PermanentError: a file cannot be read, or others can read the one beside the database.
    """
    configured = configured_secret(settings)
    path = secret_path(settings)
    if configured is not None or path is None:
        return configured
    if create and not path.exists():
        _create(path)
    if not path.exists():
        return None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PermanentError(f"{path}: others than its owner can read or write this secret; chmod 600 {path}")
    return DeploymentSecret(_read(path))


def secret_path(settings: Settings) -> Path | None:
    """Where the secret of an embedded deployment is; None with PostgreSQL."""
    try:
        url = sa.make_url(settings.database.url)
    except (sa.exc.ArgumentError, ValueError):  # said better by whoever connects
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database + ".secret")


def seed_of(secret: DeploymentSecret | None, model: str) -> int:
    """The seed of everything random in the references of a model: secret where there is a secret, else fixed."""
    return FIXED_SEED if secret is None else secret.seed("reference", model)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes().strip()
    except OSError as error:
        raise PermanentError(f"{path}: {error.strerror or error}; it should hold the deployment's secret") from None
    if len(raw) < _LEAST_BYTES:
        raise PermanentError(f"{path}: holds no secret; write one there with `openssl rand -hex 32`")
    return raw.decode("utf-8", "surrogateescape")


def _create(path: Path) -> None:
    """Appears under its name when it is whole; of two processes at once, one makes it and both read the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)
        finally:
            Path(partial).unlink()
    except OSError as error:
        raise PermanentError(
            f"{path}: {error.strerror or error}; the deployment's secret belongs there, or set VEDETTE_SECRET"
        ) from error
