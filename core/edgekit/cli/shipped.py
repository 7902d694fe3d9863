"""The students that ship, for commands whose user trained nothing: unpacked and exported once.

``shipped:restorer`` stands where a run may stand. What is made of it lies in the user's cache, in
a folder that is named after the asset, so that another version of the weights makes another one;
the one that it replaces goes when nobody has used it for a day.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from edgekit.cli.common import ConsoleReport, note
from edgekit.core.errors import BadInput, EdgekitError, unknown_name

PREFIX = "shipped:"
HERE = ("onnx", "android", "openvino")
"""Targets that this machine itself can run, the one that is looked for first."""


def shipped_name(path: Path | None) -> str | None:
    """Return NAME of ``shipped:NAME``, None for any other path.

    Raises EdgekitError for the name of no student that a version may ship.
    """
    from edgekit.core.assets import STUDENTS

    if path is None or not str(path).startswith(PREFIX):
        return None
    name = str(path).removeprefix(PREFIX)
    if name not in STUDENTS:
        raise unknown_name("shipped student", name, STUDENTS)
    return name


def named_or_shipped(path: Path | None, name: str, *, what: str, how: str) -> Path:
    """Return `path`, or ``shipped:NAME`` if none is given.

    Raises EdgekitError, which says `what` is missing and `how` it is made, if none ships.
    """
    if path is not None:
        return path
    if not ships(name):
        raise EdgekitError(f"no {what} is named, and none ships with this version", hint=how)
    return Path(PREFIX + name)


def ships(name: str) -> bool:
    """Tell whether this installation has the asset `name`."""
    from edgekit.core import assets

    try:
        assets.asset_folder(name)
    except BadInput:
        return False
    return True


def shipped_student(name: str) -> Path:
    """Return the student folder of a shipped student, made in the user's cache if it is not there.

    Raises BadInput if this installation lacks the asset or it was changed.
    """
    folder = _used(name)
    from edgekit.core import assets
    from edgekit.distill.shipped import needs_encoder, read_shipped, write_shipped  # loads torch

    shipped, encoder = read_shipped(assets.asset_folder(name)), None
    if needs_encoder(shipped.card):
        encoder = read_shipped(assets.asset_folder("identity"))
    write_shipped(shipped, folder, encoder=encoder)
    return folder


def bundle_at(
    path: Path, *, targets: Sequence[str] = (), precisions: Sequence[str] = ("fp32",)
) -> Path:
    """Return the bundle that `path` is, or that of a run, or of ``shipped:NAME``.

    The last is exported to the user's cache unless it is there: for `targets`, by default for one
    that this machine runs. Raises DependencyMissing if what exports it is not installed.
    """
    from edgekit.runtime.bundle import bundle_folder

    name = shipped_name(path)
    if name is None:
        return bundle_folder(path)
    # Apart, so that a site or a --precision of one day does not change what is opened the next.
    usual = not targets and list(precisions) == ["fp32"]
    bundle = _used(name) / ("bundle" if usual else "files")
    if _holds(bundle, targets, precisions):
        return bundle
    start = time.perf_counter()
    from edgekit.export.bundle import export_student
    from edgekit.export.cache import user_cache
    from edgekit.export.targets import missing_package
    from edgekit.runtime.sessions import open_session

    if not targets:
        problems = {target: missing_package(target) for target in HERE}  # type: ignore[arg-type]
        able = [target for target, problem in problems.items() if problem is None]
        if not able:
            first = problems[HERE[0]]
            assert first is not None
            raise first
        targets = able[:1]
    export_student(
        shipped_student(name),
        list(targets),
        bundle,
        open_session=open_session,
        precisions=list(precisions),
        report=ConsoleReport(),
        cache=user_cache(),
    )
    note(
        f"the shipped {name} was exported for {', '.join(targets)} to {bundle}, once, in "
        f"{time.perf_counter() - start:.1f} s"
    )
    return bundle


def _holds(bundle: Path, targets: Sequence[str], precisions: Sequence[str]) -> bool:
    """Tell whether a finished bundle has, or refused, all that is asked for.

    Without `targets` any file of one of the precisions will do that this machine can execute.
    """
    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.sessions import obstacle

    try:
        found = read_bundle(bundle)
    except BadInput:
        return False
    if not targets:
        files = [model.path for model in found.models if model.precision in precisions]
        return any(obstacle(bundle / file) is None for file in files)
    made = {(model.target, model.precision) for model in found.models}
    made |= {(refusal.target, refusal.precision) for refusal in found.refused}
    return {(target, kind) for target in targets for kind in precisions} <= made


def _used(name: str) -> Path:
    """Return the folder in the cache, used from now on; those that it replaced may go."""
    from edgekit.core.cache import drop_unused, touch

    folder = _place(name)
    touch(folder)
    drop_unused(other for other in folder.parent.glob(f"{name}-*") if other != folder)
    return folder


def _place(name: str) -> Path:
    """Return the folder in the cache, named after all that decides what is in it."""
    from edgekit.core import assets
    from edgekit.core.cache import cache_folder
    from edgekit.core.store import file_sha256, read_json, value_sha256
    from edgekit.core.versions import edgekit_version

    cards = [assets.asset_folder(name) / "card.json"]
    if "encoder_sha256" in read_json(cards[0]):  # a restorer that takes codes
        cards.append(assets.asset_folder("identity") / "card.json")
    hashes = [file_sha256(card) for card in cards]
    return cache_folder() / "shipped" / f"{name}-{value_sha256([edgekit_version(), *hashes])[:12]}"
