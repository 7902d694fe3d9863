"""Bundles opened and run on photos, without torch."""
