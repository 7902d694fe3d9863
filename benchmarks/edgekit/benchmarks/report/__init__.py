"""One offline HTML page about a run: pictures, curves, proof, sizes, latency, origin."""

from edgekit.benchmarks.report.page import write_report

__all__ = ["write_report"]
