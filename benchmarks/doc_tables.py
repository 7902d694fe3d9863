"""Put the tables of finished measurements into the pages that quote them, between their markers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))


def main() -> None:
    """Write docs/coreml.md's table and docs/evidence/parity.md anew."""
    import coreml_recipes
    import faults

    results = ROOT / "benchmarks" / "results"
    text = coreml_recipes.table(json.loads((results / "coreml_recipes.json").read_text()))
    page = ROOT / "docs" / "coreml.md"
    marked = re.compile(r"(<!-- coreml_recipes.json -->\n).*?(<!-- end -->)", re.S)
    page.write_text(marked.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page.read_text()))
    table = faults.table(json.loads((results / "faults.json").read_text()))
    (ROOT / "docs" / "evidence" / "parity.md").write_text(table + "\n")


if __name__ == "__main__":
    main()
