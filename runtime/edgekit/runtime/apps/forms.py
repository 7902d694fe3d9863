"""Which bundles the apps for phones can show: editors of photos, and nothing else yet."""

from __future__ import annotations

from typing import Any

from edgekit.core.errors import TargetUnsupported
from edgekit.core.manifest import BundleManifest

EDITORS = frozenset({"concept", "base", "other"})
PURPOSES = {
    "restorer": "restores faces with good photos of the person",
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
