"""Tables, comparisons, plots and checks: they name what they measured and agree with the numbers they come from."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.evaluation.acceptance import acceptance, checks_text
from facerecon.evaluation.compare import compare
from facerecon.evaluation.labels import read_aflw_yaw, read_reannotated
from facerecon.evaluation.protocol import preset
from facerecon.evaluation.published import published_for
from facerecon.evaluation.regions import load_region
from facerecon.evaluation.report import build_report
from facerecon.evaluation.scores import ScoreTable
from facerecon.metrics import area_under_ced, failure_rate, mean_of_bins

COUNT = 60


def table(seed=0, misses=(), shift=0.0, method="fit", **config):
    generator = np.random.default_rng(seed)
    yaw = np.random.default_rng(9).uniform(-90, 90, COUNT)
    bins = np.searchsorted([30, 60], np.abs(yaw))
    errors = generator.gamma(4, 0.008, COUNT) * (1 + bins) + shift
    statuses = ["refused" if index in misses else "ok" for index in range(COUNT)]
    kept = np.ones(COUNT, dtype=bool)
    kept[3] = False
    return ScoreTable(
        config=preset("sadrnet", region="full53215", **config), names=tuple(f"image{index:05d}" for index in range(COUNT)),
        context={"dataset": "AFLW2000-3D, 60 of 2000 images", "method": method, "model": "open-head", "crop_from": "detector",
                 "region": "full53215", "dense_truth": "Basel, 40 of 199 + 10 of 29"},
        statuses=tuple(statuses), codes=tuple("no_face" if index in misses else None for index in range(COUNT)), true_yaw=yaw,
        bins=bins, pose_kept=kept, nme_kept=np.ones(COUNT, dtype=bool),
        metrics={"nme2d": errors, "dense3d": errors * 1.3, "yaw": errors * 100}, missing={"rec": "because"})


def test_figures_are_those_of_the_metrics():
    scores = table()
    report = build_report(scores)
    assert list(report.lines) == ["found"]
    line = report.lines["found"][0]
    assert line.metric == "nme2d" and line.summary.n == COUNT
    assert line.summary.mean_all == pytest.approx(100 * scores.metrics["nme2d"].mean())
    assert line.summary.mean_of_bins == pytest.approx(100 * mean_of_bins(scores.metrics["nme2d"], scores.bins))
    assert line.intervals["mean_all"].low < line.summary.mean_all < line.intervals["mean_all"].high
    assert report.curves["found"]["AUC 7 %"].figure == pytest.approx(100 * area_under_ced(scores.metrics["nme2d"], 0.07))
    assert report.curves["found"]["FR 10 %"].figure == pytest.approx(100 * failure_rate(scores.metrics["nme2d"], 0.10))


def test_the_pose_is_given_with_and_without_exclusions():
    lines = [line for line in build_report(table()).lines["found"] if line.metric == "yaw"]
    assert [(line.kept, line.summary.n) for line in lines] == [(True, COUNT - 1), (False, COUNT)]


def test_misses_make_two_views():
    scores = table(misses=(0, 7, 9))
    report = build_report(scores)
    assert list(report.lines) == ["found", "all"]
    found, everything = report.lines["found"][0].summary, report.lines["all"][0].summary
    assert (found.n, everything.n) == (COUNT - 3, COUNT)
    assert found.mean_all == pytest.approx(100 * np.delete(scores.metrics["nme2d"], [0, 7, 9]).mean())
    text = report.to_text()
    assert "57 / 60" in text and "3 refused: no_face" in text and "mean face in the whole image" in text


def test_the_table_names_everything_and_marks_what_is_published():
    text = build_report(table()).to_text()
    for wanted in ("sadrnet (region=full53215)", "AFLW2000-3D, 60 of 2000 images", "detector", "open-head", "40 of 199",
                   "pt3d_68 (original)", "seeds 0, 1, 2", "not computed: 3D reconstruction [%]: because", "not measured here",
                   "95 % intervals", "z_align=mean_region"):
        assert wanted in text, wanted
    assert "SynergyNet" in text and "SynergyNet" not in build_report(table()).to_text(published=False)
    assert "re-annotated" in build_report(table(annotation="reannotated")).to_text()


def test_json_is_plain_and_equal_for_equal_scores(tmp_path):
    first, second = build_report(table()).to_dict(), build_report(table()).to_dict()
    assert json.loads(json.dumps(first, allow_nan=False)) == json.loads(json.dumps(second, allow_nan=False))
    assert first["preset"].startswith("sadrnet") and first["found"] == COUNT
    files = build_report(table()).write(tmp_path)
    assert {path.name for path in files.values()} == {"report.txt", "report.json", "scores.csv"}
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == COUNT + 1


def test_published_rows_are_consistent():
    for row in published_for(["nme2d", "dense2d", "dense3d", "rec", "yaw", "mae"]):
        figures = row["figures"]
        if "mean_of_bins" in figures and "3DDFA (" not in row["method"]:
            assert np.mean([figures[name] for name in ("0-30", "30-60", "60-90")]) == pytest.approx(figures["mean_of_bins"], abs=0.011)
    assert published_for([]) == []


def test_comparison_has_the_sign_of_the_better():
    worse, better = table(shift=0.01), table(method="other")
    result = compare(better, worse)
    assert result.differences["nme2d"]["mean_all"].figure == pytest.approx(-1.0)
    assert result.differences["nme2d"]["mean_all"].high < 0 and result.wins["nme2d"] == 100
    assert "-1.00 [-1.00, -1.00]*" in result.to_text() and "other" in result.to_text()
    json.dumps(result.to_dict(), allow_nan=False)
    reverse = compare(worse, better)
    assert reverse.differences["nme2d"]["mean_all"].low == pytest.approx(1.0)


def test_comparison_over_found_leaves_out_what_either_missed():
    first, second = table(misses=(1, 2)), table(misses=(2, 5))
    assert compare(first, second).n == COUNT - 3 and compare(first, second, over="all").n == COUNT


def test_figures_of_different_protocols_are_never_subtracted():
    with pytest.raises(ArgumentError, match="bbox_from"):
        compare(table(), table(bbox_from="kpt68"))
    with pytest.raises(ArgumentError, match="same images"):
        compare(table(), dataclasses.replace(table(), names=tuple(reversed(table().names))))
    other = dataclasses.replace(table(), context={**table().context, "region": "open_face"})
    with pytest.raises(ArgumentError, match="region"):
        compare(table(), other)


def test_plots_are_pictures_and_repeat(tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    from facerecon.evaluation.plots import plot_ced, plot_error_by_yaw

    for draw in (plot_ced, plot_error_by_yaw):
        first = draw([table(), table(seed=1, misses=(1,), method="other")], tmp_path / "a.png").read_bytes()
        assert first == draw([table(), table(seed=1, misses=(1,), method="other")], tmp_path / "b.png").read_bytes()
        with Image.open(tmp_path / "a.png") as image:
            assert image.size[0] > 600 and len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_acceptance_on_a_made_up_benchmark(truths, dense):
    checks = acceptance(truths, dense=dense, region=load_region("full53215"))
    by_name = {check.name: check for check in checks}
    assert not any(check.passed is False for check in checks)
    for name in ("NME of the truth against itself", "one pixel to the right", "Euler angles there and back",
                 "similarity of the truth, reconstruction error", "truth moved in depth, dense 2D and 3D"):
        assert by_name[name].passed is True, name
    # Figures of the 2,000 images are not judged on twelve.
    assert by_name["yaw bins by the fitted yaw"].passed is None and by_name["yaw bins by the fitted yaw"].got == "4 / 4 / 4"
    assert "not checked" in checks_text(checks)
    bare = acceptance(truths)
    assert sum(check.passed is None for check in bare) > sum(check.passed is None for check in checks)


def test_a_model_that_calls_itself_complete_must_hit_the_landmarks(truths, dense):
    class Complete:
        sizes, keypoints, mean, title = (199, 29), dense.keypoints, dense.mean, "complete"
        vertices = staticmethod(dense.vertices)

    assert acceptance(truths, dense=Complete())[0].passed is True
    moved = [dataclasses.replace(truth, landmarks68=truth.landmarks68 + [0, 0.02, 0]) for truth in truths]
    assert acceptance(moved, dense=Complete())[0].passed is False


def test_labels_fit_the_whole_release_only(tmp_path):
    names = tuple("abc")
    np.save(tmp_path / "AFLW2000-3D-new.pose.npy", np.array([1.0, 40, 70]))
    points = np.random.default_rng(0).normal(size=(3, 2, 68))
    np.save(tmp_path / "AFLW2000-3D-Reannotated.pts68.npy", points)
    assert read_aflw_yaw(tmp_path, names).tolist() == [1, 40, 70]
    np.testing.assert_allclose(read_reannotated(tmp_path, names)["b"], points[1].T - 1)
    with pytest.raises(ArgumentError, match="whole release"):
        read_aflw_yaw(tmp_path, names[:2])
