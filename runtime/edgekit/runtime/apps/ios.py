"""The iOS demo as an Xcode project with bundles in it, ready for ``open``: nothing is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported
from edgekit.core.manifest import BundleManifest, read_bundle, write_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.store import MANIFEST, prepared_folder, read_json, size_bytes
from edgekit.runtime.apps.forms import NOT_SHOWN, check_edits_photos, check_restores_alone
from edgekit.runtime.apps.ios_nets import check_nets, write_nets

FORMATS = ("mlpackage", "aimodel")
PROJECT = "EdgeKitDemo.xcodeproj"
SOURCES = ("App", "EdgeKitCore", PROJECT, "Info.plist", "README.md")
BUNDLES = "Bundles"
RESTORER = "restorer"
_LEFT_OUT = shutil.ignore_patterns(".build", ".swiftpm", "xcuserdata", "DerivedData", ".DS_Store")


@dataclass(frozen=True, slots=True)
class Project:
    """An Xcode project with bundles."""

    folder: Path
    bundles: tuple[str, ...]
    bytes: int
    """Of the bundles: what they add to the app."""
    fresh: bool
    """False if the project was there: its sources were kept, its bundles replaced."""

    @property
    def opened(self) -> Path:
        """What Xcode opens."""
        return self.folder / PROJECT


def sources() -> Path:
    """Return the folder of the app's sources: beside the package, or in the working tree."""
    here = Path(__file__).resolve()
    for place in (here.parents[2] / "ios_demo", here.parents[4] / "ios_demo"):
        if (place / PROJECT / "project.pbxproj").is_file():
            return place
    raise EdgekitError("the iOS demo is not part of this installation", hint="install edgekit anew")


def build_project(bundles: Sequence[Path], out: Path, *, report: Report = silent) -> Project:
    """Write the iOS demo with `bundles` to `out`.

    A project that is there keeps its sources, which may have been changed, and gets new bundles. A
    bundle keeps its Core ML and Core AI files, its concepts and its golden vectors; a restorer gets
    the nets that find faces as its parts.

    Raises BadInput for a damaged bundle or a folder of something else, TargetUnsupported for a
    bundle without a file for iOS or of a form that the app cannot show, DependencyMissing for a
    restorer without what writes these nets; `out` is then as it was.
    """
    manifests = [read_bundle(folder, check_files=True) for folder in bundles]
    for manifest in manifests:
        if manifest.form == RESTORER:
            check_restores_alone(manifest, "iOS")
        else:
            check_edits_photos(manifest, "iOS")
        if not _models(manifest):
            raise TargetUnsupported(
                f"{manifest.name} holds no file that an iPhone runs",
                hint="export it with --target ios",
            )
    if any(manifest.form == RESTORER for manifest in manifests):
        check_nets()
    fresh = not (out / PROJECT).exists()
    if fresh and out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} holds something else than the iOS demo", hint="choose another --out")
    work = out.with_name(f".{out.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        _copied_bundles(bundles, manifests, prepared_folder(work / BUNDLES), report)
        if fresh:
            _copied_sources(work)
            shutil.rmtree(out, ignore_errors=True)
            work.replace(out)
        else:
            _exchanged(work / BUNDLES, prepared_folder(out / BUNDLES))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    held = sorted(path for path in (out / BUNDLES).iterdir() if _is_bundle(path))
    return Project(out, tuple(path.name for path in held), sum(map(size_bytes, held)), fresh)


def _models(manifest: BundleManifest) -> list[str]:
    return [model.path for model in manifest.models if model.format in FORMATS]


def _copied_sources(out: Path) -> None:
    origin = sources()
    for name in SOURCES:
        if (origin / name).is_dir():
            shutil.copytree(origin / name, out / name, ignore=_LEFT_OUT)
        else:
            shutil.copyfile(origin / name, out / name)
    shutil.copyfile(origin / BUNDLES / "README.md", out / BUNDLES / "README.md")


def _copied_bundles(
    bundles: Sequence[Path], manifests: Sequence[BundleManifest], out: Path, report: Report
) -> None:
    for number, (folder, manifest) in enumerate(zip(bundles, manifests, strict=True)):
        report("bundles", number, len(bundles), manifest.name)
        name = manifest.name
        while (out / name).exists():
            name += "-2"
        paths = [*_models(manifest), *(row.path for row in manifest.concepts)]
        for path in [*paths, manifest.golden.path]:
            place = out / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if (folder / path).is_dir():
                shutil.copytree(folder / path, place)
            else:
                shutil.copyfile(folder / path, place)
        models = tuple(model for model in manifest.models if model.format in FORMATS)
        parts = write_nets(out / name) if manifest.form == RESTORER else ()
        kept = manifest.model_copy(update=NOT_SHOWN | {"models": models, "parts": parts})
        write_bundle(out / name, kept)
    report("bundles", len(bundles), len(bundles))


def _exchanged(fresh: Path, place: Path) -> None:
    """Put the bundles of `fresh` into `place` instead of those there; other files are kept."""
    new = [path for path in fresh.iterdir() if path.is_dir()]
    for path in new:
        if (place / path.name).exists() and not _is_bundle(place / path.name):
            raise BadInput(
                f"{place / path.name} is in the way and is no bundle", hint="move it away"
            )
    for path in place.iterdir():
        if _is_bundle(path):
            shutil.rmtree(path)
    for path in new:
        path.replace(place / path.name)


def _is_bundle(path: Path) -> bool:
    if not (path / MANIFEST).is_file():
        return False
    found = read_json(path / MANIFEST)
    return isinstance(found, dict) and found.get("kind") == "bundle"
