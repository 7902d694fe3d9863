"""Which bundles the apps for phones can show: editors of photos, and restorers of faces."""

from __future__ import annotations

from typing import Any

from edgekit.core.errors import TargetUnsupported
from edgekit.core.manifest import BundleManifest

EDITORS = frozenset({"concept", "base", "other"})
PURPOSES = {
    "mesh": "makes meshes of words",
    "enroller": "is a part of a restorer",
    "identity": "makes codes of faces",
    "field": "is a part of a mesh generator",
}

NOT_SHOWN: dict[str, Any] = {"refused": (), "adapters": (), "parts": (), "assets": ()}
"""Fields of a manifest that the apps have no use for; the files are left out."""


def check_edits_photos(manifest: BundleManifest, app: str) -> None:
    """Raise TargetUnsupported for a bundle of a form that the `app` has no screen for."""
    if manifest.form not in EDITORS:
        what = PURPOSES.get(manifest.form, f"is of the form {manifest.form}")
        raise TargetUnsupported(
            f"{manifest.name} {what}, and the {app} app edits photos",
            hint="the web demo shows restorers and mesh generators: add --target web",
        )


def check_restores_alone(manifest: BundleManifest, app: str) -> None:
    """Raise TargetUnsupported for a restorer that is told of a person: the `app` enrols nobody."""
    named = {port.name for model in manifest.models for port in model.inputs}
    if told := sorted(named - {"image"}):
        raise TargetUnsupported(
            f"{manifest.name} is told of a person by {', '.join(told)}, and the {app} app enrols "
            "nobody",
            hint="distill it with --form none, or show it in the web demo: add --target web",
        )
