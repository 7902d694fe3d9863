"""Latency measured honestly, and the report."""
