"""The report put together: facts, pictures and charts into one template, without any request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from edgekit.benchmarks.report import tables
from edgekit.benchmarks.report.charts import bar_chart, curve_charts
from edgekit.benchmarks.report.devices import device_tables
from edgekit.benchmarks.report.facts import Facts, read_run
from edgekit.benchmarks.report.pictures import Pictures, bundle_pictures
from edgekit.benchmarks.report.precision import precision_sections
from edgekit.benchmarks.report.search import search_section
from edgekit.core.progress import Report, silent
from edgekit.core.store import write_bytes
from edgekit.core.versions import edgekit_version
from edgekit.runtime.verify import Open


def write_report(
    run: Path,
    out: Path,
    *,
    evaluators: Mapping[str, Open] | None = None,
    report: Report = silent,
) -> Path:
    """Write one HTML file about the run folder (or bundle) `run` to `out` and return `out`.

    The page needs no other file and no network. Held-out photos are run through every file of the
    bundle that can be executed here, or evaluated by one of `evaluators` (suffix -> opener); what
    cannot be, and what the run lacks, is said on the page.

    Raises BadInput for a folder that is neither a run nor a bundle, OutputError if `out` cannot
    be written.
    """
    facts = read_run(run)
    page = rendered(facts, bundle_pictures(facts, report, evaluators))
    write_bytes(out, page.encode())
    return out


def rendered(facts: Facts, pictures: Pictures) -> str:
    """Return the page as text."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = (folder / "style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        facts=facts,
        style=Markup(style),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        edgekit=edgekit_version(),
        tiles=tables.headline(facts),
        pictures=pictures,
        quality=tables.quality_rows(facts),
        protocol=facts.student.get("quality", {}).get("protocol", ""),
        samples=facts.student.get("quality", {}).get("samples", ""),
        curves=_safe(curve_charts(facts.log)),
        search=_search(facts),
        precision=precision_sections(facts.run),
        bundle=facts.bundle,
        files=tables.file_rows(facts.bundle) if facts.bundle else [],
        placement=tables.placement_rows(facts.bundle) if facts.bundle else [],
        parity_protocol=_parity_protocol(facts),
        latency=tables.latency_rows(facts.bench),
        bars=_bars(facts.bench),
        bench=facts.bench,
        devices=device_tables(facts.run),
        origin=tables.origin_rows(facts),
    )


def _search(facts: Facts) -> dict[str, Any] | None:
    if not facts.search:
        return None
    section = search_section(facts.search)
    chart = section.pop("chart")
    return {**section, "chart": _safe([chart])[0] if chart else None}


def _safe(charts: Any) -> list[dict[str, Any]]:
    """Mark our own SVG as markup; every name inside was escaped when it was drawn."""
    return [
        {"title": chart.title, "svg": Markup(chart.svg), "summary": chart.summary}
        for chart in charts
    ]


def _bars(bench: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [
        (row["name"], row["value"], row["kind"])
        for row in tables.latency_rows(bench)
        if row["value"] > 0
    ]
    return _safe([bar_chart(rows, title="median time of a call")]) if rows else []


def _parity_protocol(facts: Facts) -> str:
    if facts.bundle is None:
        return ""
    found = {entry.parity.protocol for entry in facts.bundle.models if entry.parity}
    return ", ".join(sorted(found))
