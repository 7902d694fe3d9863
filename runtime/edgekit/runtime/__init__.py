"""Bundles opened and run on photos, without torch."""

from edgekit.runtime.bundle import open_bundle

__all__ = ["open_bundle"]
