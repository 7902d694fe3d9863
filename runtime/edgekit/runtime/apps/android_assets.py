"""Bundles as assets of the Android app: in an APK, or in a Gradle project for Android Studio."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.manifest import BundleManifest, read_bundle, write_bundle
from edgekit.core.store import prepared_folder, size_bytes, write_bytes
from edgekit.runtime.apps.android_nets import check_nets, write_nets
from edgekit.runtime.apps.android_tools import sources
from edgekit.runtime.apps.forms import NOT_SHOWN, check_edits_photos, check_restores_alone

LIST = "bundles.json"
RESTORER = "restorer"
ASSETS = "app/src/main/assets"
GRADLE_FORMATS = ("onnx", "tflite")
"""The project has a flavour for each; an APK that `build_android` writes runs the first."""
PROJECT = (
    *("settings.gradle.kts", "build.gradle.kts", "gradle.properties", ".gitignore", "gradle"),
    *("core/build.gradle.kts", "core/src/main", "app/build.gradle.kts", "app/src", "README.md"),
)


@dataclass(frozen=True, slots=True)
class GradleProject:
    """A project that Android Studio opens."""

    folder: Path
    bundles: tuple[str, ...]
    bytes: int
    """Of the bundles."""
    fresh: bool
    """Whether the sources were written too; those of a project that was there are left alone."""


def usable(folders: Sequence[Path], formats: Sequence[str]) -> list[BundleManifest]:
    """Check bundles and return their manifests with the files of these formats alone.

    Raises BadInput for a damaged bundle, TargetUnsupported for one without such a file or of a form
    that the app cannot show, DependencyMissing for a restorer without the nets that find faces.
    """
    found = []
    for folder in folders:
        manifest = read_bundle(folder, check_files=True)
        if manifest.form == RESTORER:
            check_restores_alone(manifest, "Android")
            check_nets()
        else:
            check_edits_photos(manifest, "Android")
        models = tuple(model for model in manifest.models if model.format in formats)
        if not models:
            raise TargetUnsupported(
                f"{manifest.name} holds no file that the app runs ({', '.join(formats)})",
                hint="export it with --target onnx"
                + ("" if "tflite" in formats else " (only a Gradle project takes LiteRT files)"),
            )
        found.append(manifest.model_copy(update=NOT_SHOWN | {"models": models}))
    return found


def write_assets(
    folders: Sequence[Path],
    manifests: Sequence[BundleManifest],
    assets: Path,
    formats: Sequence[str],
) -> tuple[str, ...]:
    """Write what the app reads of the bundles, and the list of them; return their names.

    With a restorer among them the nets that find faces come along, in `formats`.
    """
    names: list[str] = []
    for folder, manifest in zip(folders, manifests, strict=True):
        name, number = manifest.name, 2
        while name in names:
            name, number = f"{manifest.name}-{number}", number + 1
        names.append(name)
        place = assets / "bundles" / name
        paths = [model.path for model in manifest.models]
        paths += [row.path for row in manifest.concepts]
        for path in [*paths, manifest.golden.path]:
            write_bytes(place / path, (folder / path).read_bytes())
        write_bundle(place, manifest)
    listed = [{"name": name, "path": f"bundles/{name}"} for name in names]
    restores = any(manifest.form == RESTORER for manifest in manifests)
    nets = write_nets(assets, formats) if restores else []
    told = {"kind": "app", "bundles": listed, "nets": nets}
    write_bytes(assets / LIST, json.dumps(told, indent=1).encode())
    return tuple(names)


def build_project(bundles: Sequence[Path], out: Path) -> GradleProject:
    """Write a Gradle project with `bundles` as its assets; of one that is there, the bundles only.

    Raises BadInput for a folder of something else, and what `usable` raises; `out` is then as it
    was.
    """
    manifests = usable(bundles, GRADLE_FORMATS)
    fresh = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not fresh and not (out / "app" / "build.gradle.kts").is_file():
        raise BadInput(
            f"{out} holds something else than the app's project", hint="choose another --out"
        )
    origin = sources()
    if fresh:
        prepared_folder(out)
        for name in PROJECT:
            source, place = origin / name, out / name
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("assets", "build"))
            else:
                write_bytes(place, source.read_bytes())
    work = prepared_folder(out / ASSETS).with_name(".assets.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        named = write_assets(bundles, manifests, work, GRADLE_FORMATS)
        shutil.rmtree(out / ASSETS)
        work.replace(out / ASSETS)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return GradleProject(out, named, size_bytes(out / ASSETS), fresh)
