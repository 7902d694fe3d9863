"""Runtimes of other people for an app: fetched by npm at a pinned version, checked, kept."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import prepared_folder, write_bytes

_MISSING = 3
"""Exit code of a missing dependency."""


class Package(BaseModel):
    """A package of npm's registry and the files of it that an app ships."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    version: str
    integrity: Annotated[str, Field(pattern=r"^sha512-[A-Za-z0-9+/=]+$")]
    files: Mapping[str, str]
    """Path in the package -> path in the app."""
    imports: Mapping[str, str]
    """Bare names that its modules import -> files beside them: browsers know paths alone."""


def libraries(file: Path) -> dict[str, tuple[Package, ...]]:
    """Read the list of packages an engine (format) needs."""
    value = json.loads(file.read_text(encoding="utf-8"))
    return {
        form: tuple(Package.model_validate(row) for row in rows) for form, rows in value.items()
    }


def install(package: Package, app: Path, *, cache: Path | None = None) -> list[str]:
    """Put the files of `package` into `app` and return their paths there.

    The archive is fetched by ``npm pack`` unless `cache` holds it. Raises EdgekitError without npm
    or without an answer (exit code 3), BadInput for an archive that is not the pinned one.
    """
    archive = fetched(package, cache or user_cache_path("edgekit") / "npm")
    with tarfile.open(archive, "r:gz") as content:
        for inside, place in package.files.items():
            stream = content.extractfile(f"package/{inside}")
            if stream is None:
                raise BadInput(f"{package.package} has no {inside}", hint="update edgekit")
            write_bytes(app / place, _resolved(stream.read(), inside, package.imports))
    return list(package.files.values())


def _resolved(data: bytes, inside: str, imports: Mapping[str, str]) -> bytes:
    if not inside.endswith((".js", ".mjs")):
        return data
    for name, path in imports.items():
        data = data.replace(f'"{name}"'.encode(), f'"{path}"'.encode())
    return data


def fetched(package: Package, cache: Path) -> Path:
    """Return the archive of a package, from `cache` or by npm; errors as `install`."""
    prepared_folder(cache)
    name = f"{package.package.removeprefix('@').replace('/', '-')}-{package.version}.tgz"
    kept = cache / name
    if kept.is_file() and integrity(kept) == package.integrity:
        return kept
    npm = shutil.which("npm")
    what = f"{package.package}@{package.version}"
    if npm is None:
        raise _missing(f"{what} is not on this machine and npm is not installed", "install Node.js")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        done = subprocess.run(
            [npm, "pack", what, "--silent", "--pack-destination", folder],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )
        found = Path(folder) / name
        if done.returncode or not found.is_file():
            last = (done.stderr.strip() or "no answer").splitlines()[-1]
            raise _missing(f"npm did not fetch {what}: {last}", "check the network and try again")
        if integrity(found) != package.integrity:
            raise BadInput(
                f"{what} is not the archive that edgekit was tested with",
                hint="check the registry that npm uses, or update edgekit",
            )
        found.replace(kept)
    return kept


def integrity(path: Path) -> str:
    """Return the hash of a file as npm writes it."""
    digest = hashlib.sha512(path.read_bytes()).digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _missing(what: str, hint: str) -> EdgekitError:
    error = EdgekitError(what, hint=hint)
    error.exit_code = _MISSING
    return error
