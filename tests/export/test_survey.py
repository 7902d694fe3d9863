import json
from pathlib import Path

import pytest
from tests.export.programs import write_student

from edgekit.export.survey import every_recipe, survey, table
from edgekit.export.targets import Refused, converter_of
from edgekit.runtime.sessions import open_session

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
PAGE = (ROOT / "docs/export.md").read_text(encoding="utf-8")


def test_the_figures_in_the_documentation_are_those_of_the_committed_result():
    result = json.loads((RESULTS / "export_night_128.json").read_text(encoding="utf-8"))

    assert table(result) in PAGE


@pytest.mark.parametrize("form", ["onnx", "tflite", "mlpackage", "aimodel"])
def test_the_first_recipe_clears_its_bar_on_the_surveyed_student(form):
    result = json.loads((RESULTS / "export_night_128.json").read_text(encoding="utf-8"))
    first = {}
    for row in result["rows"]:
        first.setdefault((row["format"], row["precision"]), row)

    worst = {kind: first[form, kind]["parity"]["worst_psnr_db"] for kind in ("fp16", "int8")}

    assert worst["fp16"] >= 55
    assert worst["int8"] >= 35
    assert first[form, "int8"]["bytes"] < first[form, "fp16"]["bytes"]


def test_recipes_that_are_only_measured_come_after_those_that_may_ship():
    recipes = every_recipe(converter_of("onnx"), "int8")

    assert recipes[:3] == converter_of("onnx").recipes("int8") == ("ends-1", "ends-2", "ends-3")
    assert {"convolutions", "all", "percentile", "s8s8"} == set(recipes[3:])


def test_every_recipe_of_a_format_is_measured_and_refused_ones_are_left_out(tmp_path, monkeypatch):
    student = write_student(tmp_path / "student")
    converter = converter_of("mlpackage")
    right = converter.convert

    def convert(program, path, *, precision, **options):
        if path.name == "fp16.plain.mlpackage":
            raise Refused("not today")
        return right(program, path, precision=precision, **options)

    monkeypatch.setattr(converter, "convert", convert)

    result = survey(student, tmp_path / "survey", open_session=open_session, formats=("mlpackage",))

    made = [(row["precision"], row["recipe"]) for row in result["rows"]]
    names = ("palette-8", "weights", *converter.ALTERNATIVES)
    assert made == [("fp32", "plain"), *(("int8", name) for name in names)]
    palette, linear = result["rows"][1:3]
    assert palette["parity"]["worst_psnr_db"] > linear["parity"]["worst_psnr_db"]
    assert "**palette-8**" in table(result)
