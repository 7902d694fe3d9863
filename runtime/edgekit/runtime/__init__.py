"""Bundles opened and run on photos and video, without torch."""

from edgekit.runtime.bundle import OpenBundle, open_bundle
from edgekit.runtime.sessions import open_session
from edgekit.runtime.video import Latest, LiveFrame, live

__all__ = ["Latest", "LiveFrame", "OpenBundle", "live", "open_bundle", "open_session"]
