"""What ships is scored as users have it, under every condition."""

import json
import sys
from pathlib import Path

from tests import needs
from tests.shipped import toy_assets, toy_runs

from edgekit.distill.faces import recognition

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faces"


@needs.KORNIA
def test_every_condition_has_its_scores_beside_the_degraded_portraits(tmp_path, monkeypatch):
    runs = toy_runs(tmp_path / "runs")
    (tmp_path / "assets").mkdir()
    assets = toy_assets(runs, tmp_path / "assets")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(recognition, "installed", lambda: False)
    for name in ("judge", "shipped"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import shipped

    words = ["shipped.py", "--assets", assets, "--real", runs / "faces", "--judged", 2]
    words += ["--out", tmp_path / "scores.json", "--pictures", tmp_path / "pictures"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    shipped.main()

    found = json.loads((tmp_path / "scores.json").read_text())
    assert set(found["scores"]) == {
        *(f"real/{level}/4 right" for level in ("mild", "medium", "severe", "extreme")),
        *(
            f"real/{level}/{who}"
            for level in ("severe", "extreme")
            for who in ("4 wrong", "0 right")
        ),
    }
    severe = found["scores"]["real/severe/4 right"]
    assert severe["restored"]["psnr_db"] != severe["degraded"]["psnr_db"]
    assert (tmp_path / "pictures" / "real-severe-4-right.png").is_file()
    assert (
        found["restorer"] == json.loads((assets / "restorer" / "card.json").read_text())["sha256"]
    )
    for name in ("judge", "shipped"):
        sys.modules.pop(name, None)
