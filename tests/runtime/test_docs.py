import re
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_the_runtime_page_works_as_it_stands(toy_bundle, tmp_path, monkeypatch):
    examples = re.findall(r"^```python\n(.*?)^```", (DOCS / "runtime.md").read_text(), re.M | re.S)
    shutil.copytree(toy_bundle, tmp_path / "runs/night/bundle")
    Image.fromarray(np.full((50, 60, 3), 200, np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)

    seen: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "docs/runtime.md", "exec"), seen)

    assert np.asarray(Image.open("night.png")).mean() == 55
