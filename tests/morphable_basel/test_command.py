"""`facerecon convert-basel` as a user calls it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from facerecon.cli.main import app


def test_result_as_json_and_as_text(layouts, small_face, tmp_path):
    shape, expression = layouts.zhu(small_face)
    arguments = ["convert-basel", str(shape), "--expression", str(expression), "-o", str(tmp_path / "a.facemodel")]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["kind"] == "zhu" and result["identity"] == 6 and result["vertices"] == len(small_face.mean)
    assert all(check["ok"] for check in result["checks"]) and "University of Basel" in result["licence"]
    assert "micrometres" in CliRunner().invoke(app, arguments).stdout


@pytest.mark.parametrize("arguments", [["absent.mat"], ["{shape}", "--kind", "flame"], ["{shape}"], ["{shape}", "--ncc", "red"]])
def test_refusals_exit_with_two(layouts, small_face, tmp_path, arguments):
    shape = layouts.zhu(small_face)[0]
    words = [word.format(shape=shape) for word in arguments]
    done = CliRunner().invoke(app, ["convert-basel", *words, "-o", str(tmp_path / "a.facemodel")])
    assert done.exit_code == 2 and not (tmp_path / "a.facemodel").exists()
