"""One round with the real training, as short as it can be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from facerecon.alignment.annotations import write_annotations
from facerecon.alignment.labels import LabelledImage


def test_propose_import_retrain_propose(photos, scheme, tmp_path):
    pytest.importorskip("lightning")
    from facerecon.cli.main import app

    def label(*words):
        result = CliRunner().invoke(app, ["label", *map(str, words), "--json"], prog_name="facerecon")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    project, goal = tmp_path / "project", tmp_path / "answer.json"
    (tmp_path / "four.json").write_text(json.dumps(scheme.to_dict()))
    first = label("propose", project, "--photos", photos, "--face-crops", "--scheme", tmp_path / "four.json", "--count", "4")
    points = np.array([[10, 20], [38, 20], [24, 30], [24, 50.0]])
    rows = [LabelledImage(name, points, np.ones(4, bool), (48, 60)) for name in first["photos"]]
    label("import", project, write_annotations(goal, rows, scheme, format="coco"))
    trained = label("retrain", project, "--recipe", "landmarks-smoke", "steps=1", "pictures_every=0", "validate_every=0")
    assert trained["trained"]["samples"] == 4 and trained["trained"]["metrics"]["n"] == len(first["held_out"]) == 1
    assert (project / trained["trained"]["weights"]).is_file() and not list(project.rglob("*.checkpoint.safetensors"))
    for function in ("nnm", "k-center"):
        again = tmp_path / function
        again.mkdir()
        (again / "project.json").write_text((project / "project.json").read_text())
        (again / "training").symlink_to(project / "training")
        second = label("propose", again, "--count", "3", "--function", function)
        assert len(second["proposed"]) == 3 and not set(second["proposed"]) & set(first["photos"])
        assert second["function"] == function
