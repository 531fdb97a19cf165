"""The command that measures weights: errors by hand, the rule of a found face, bins, intervals, answers given once."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from facerecon.assets import locate
from facerecon.errors import FaceError, PathError
from facerecon.evaluation.truth import FaceTruth
from facerecon.metrics.pose import CAMERA_FLIP, rotation_from_euler_deg
from facerecon.pipeline import LANDMARK_ASSET
from facerecon.synthesis.profile_photos import Photo


def points68() -> np.ndarray:
    """Points whose box is 100 x 64 px, so that the root of its area is 80, with outer eye corners 40 px apart."""
    points = np.random.default_rng(0).uniform([20, 20], [80, 60], (68, 2))
    points[0], points[20] = (10.0, 10.0), (110.0, 74.0)
    points[36], points[45] = (40.0, 30.0), (80.0, 30.0)
    return points


def face(name: str = "a", yaw: float | None = 0.0, subject: str | None = None, *, roll: float = 0.0):
    from evaluate_weights_sets import Face

    euler = None if yaw is None else np.array([0.0, yaw, roll])
    return Face(name, subject or name, Photo(name, None, Path(name)), points68(), euler)


def answer(of, *, shift=(0.0, 0.0), yaw: float = 0.0, **changes):
    """The truth, moved by `shift` px and turned by `yaw` degrees."""
    from evaluate_weights_methods import Answer

    euler = None if of.euler is None else of.euler + [0, yaw, 0]
    values = {"points": of.points + np.asarray(shift), "euler": euler, "box": np.array([10.0, 10, 110, 74]), "overlap": 1.0}
    return Answer(of.name, **{**values, **changes})


def face_set(faces, key: str = "profiled"):
    from evaluate_weights_sets import FaceSet

    return FaceSet(key, "A set", "hash", tuple(faces))


def test_errors_by_hand():
    from evaluate_weights_scores import errors_of

    one = face(yaw=20.0)
    assert errors_of(one, answer(one)) == {"nme68": 0, "nme51": 0, "ocular68": 0, "ocular51": 0, "yaw": 0}
    # Five pixels of eighty, and of the forty between the eyes.
    moved = errors_of(one, answer(one, shift=(3, 4), yaw=-7))
    assert moved == pytest.approx({"nme68": 6.25, "nme51": 6.25, "ocular68": 12.5, "ocular51": 12.5, "yaw": 7.0})
    jaw = np.zeros((68, 2))
    jaw[:17, 1] = 8
    assert errors_of(one, answer(one, shift=jaw)) == pytest.approx(
        {"nme68": 10 * 17 / 68, "nme51": 0, "ocular68": 20 * 17 / 68, "ocular51": 0, "yaw": 0})
    assert np.isnan(list(errors_of(one, answer(one, code="no_face")).values())).all()
    # As on AFLW2000-3D, an angle beyond 99 degrees takes a face out of the pose, not out of the landmarks.
    far = face(roll=120.0)
    assert np.isnan(errors_of(far, answer(far))["yaw"]) and errors_of(far, answer(far))["nme68"] == 0


def five_faces():
    """Two near-frontal faces, one of 45 degrees, two beyond 60; the last is missed by (d), and (b) is 1.6 px worse than (d)."""
    faces = [face("a", 5.0), face("b", -30.0), face("c", 45.0), face("d", -61.0), face("e", 80.0)]
    whole = [answer(one, shift=(0, dy), yaw=1.0) for one, dy in zip(faces, (0.8, 1.6, 2.4, 3.2, 4.0))]
    whole[4] = dataclasses.replace(whole[4], code="other_face")
    return faces, {"fit": [answer(one, shift=(0, dy), yaw=-3.0) for one, dy in zip(faces, (2.4, 3.2, 4.0, 4.8, 40.0))],
                   "auto": whole}


def test_bins_shares_and_means_over_common_faces():
    from evaluate_weights_scores import score_set

    faces, answers = five_faces()
    scored = score_set(face_set(faces), answers, resamples=200)
    assert scored.bins.tolist() == [0, 0, 1, 2, 2] and scored.methods == ("fit", "auto")
    assert set(scored.errors) == {"nme68", "yaw"}
    assert scored.share_found("auto") == {"0-30": (2, 2), "30-60": (1, 1), "60-90": (1, 2), "mean_all": (4, 5)}

    def figures(found):
        return [round(found[name].figure, 6) for name in ("0-30", "30-60", "60-90", "mean_of_bins", "mean_all")]

    assert figures(scored.intervals("nme68", "auto")) == [1.5, 3, 4, round(8.5 / 3, 6), 2.5]
    assert figures(scored.intervals("nme68", "fit")) == [3.5, 5, 28, round(36.5 / 3, 6), 13.6]
    # Without the face that (d) missed; and the difference is the same for every face.
    assert figures(scored.intervals("nme68", "fit", common=True)) == [3.5, 5, 6, round(14.5 / 3, 6), 4.5]
    difference = scored.difference("nme68", "auto", "fit")
    assert figures(difference) == [-2] * 5 and difference["mean_all"].low == pytest.approx(-2)
    assert figures(scored.difference("yaw", "auto", "fit")) == [-2] * 5


def test_people_are_drawn_whole():
    from evaluate_weights_scores import score_set, subject_counts

    subjects = np.array([0, 0, 1, 2, 2, 2])
    counts = subject_counts(subjects, resamples=100, seed=3)
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 3:] == counts[:, 3:4]).all()
    assert (counts[:, [0, 2, 3]].sum(1) == 3).all() and counts[:, 2].std() > 0
    np.testing.assert_array_equal(counts, subject_counts(subjects, resamples=100, seed=3))
    assert (counts != subject_counts(subjects, resamples=100, seed=4)).any()
    # One person's faces tell nothing of others: there is nothing to draw.
    faces = [face(name, 3.0, "the same") for name in "abcd"]
    answers = [answer(each, shift=(0, index)) for index, each in enumerate(faces)]
    one = score_set(face_set(faces), {"fit": answers}, resamples=50)
    interval = one.intervals("nme68", "fit")["mean_all"]
    assert interval.low == interval.figure == interval.high == pytest.approx(1.5 / 0.8)


def test_yaw_of_crops_comes_from_their_labels():
    from evaluate_weights_methods import Answer
    from evaluate_weights_scores import score_set

    faces = [face(name, None) for name in "abc"]
    angles = {name: np.array([0, yaw, 0]) for name, yaw in (("a", -50.0), ("c", 2.0))}
    labels = [Answer("a", euler=angles["a"]), Answer("b", "landmarks_degenerate"), Answer("c", euler=angles["c"])]
    scored = score_set(face_set(faces, "real"), {"auto": [answer(one) for one in faces]}, labels=labels, resamples=5)
    assert scored.left_out == ("b",) and scored.bins.tolist() == [1, 0]
    assert [one.name for one in scored.answers["auto"]] == ["a", "c"]
    assert set(scored.errors) == {"nme68", "nme51", "ocular68", "ocular51"}


def test_the_evaluator_gives_the_same_figures_and_counts_misses():
    from evaluate_weights_scores import by_protocol, score_set

    faces, answers = five_faces()
    rotations = [CAMERA_FLIP[:, None] * rotation_from_euler_deg(one.euler) for one in faces]
    faces = [dataclasses.replace(one, truth=FaceTruth(one.name, (120, 120), np.pad(one.points, ((0, 0), (0, 1))), one.euler,
                                                      rotation, np.zeros(199), np.zeros(29), np.zeros(3), 1.0))
             for one, rotation in zip(faces, rotations)]
    scored = score_set(face_set(faces, "aflw"), answers, resamples=20)
    for over, key in (("found", "auto"), ("all", "fit")):
        found = by_protocol(scored, key, over=over)
        for metric, ours in (("nme2d", "nme68"), ("yaw", "yaw")):
            for name, interval in scored.intervals(ours, key).items():
                assert dataclasses.astuple(found[metric][name]) == pytest.approx(dataclasses.astuple(interval), rel=1e-5)
    assert by_protocol(scored, "auto")["nme2d"]["60-90"].figure > 10 > scored.intervals("nme68", "auto")["60-90"].figure


def seen(*box, points=True):
    from evaluate_weights_methods import Seen

    return Seen(np.array(box, float), points68() if points else None, None)


def test_the_face_meant_is_the_one_that_overlaps():
    from evaluate_weights_methods import Asked

    # The true box is 100 x 64. Its upper 19 px are 29.7 % of it, 20 px 31 %; a wide box holds it and is three times as large.
    pixels, calls = np.zeros((8, 8, 3), np.uint8), []

    def ask(largest, every=()):
        def of(faces, name):
            def call(_):
                calls.append(name)
                if isinstance(faces, Exception):
                    raise faces
                return list(faces)
            return call

        calls.clear()
        return Asked(of(largest, "largest"), of(every, "every"))(face(), pixels)

    assert ask([seen(10, 10, 110, 29)], [seen(10, 10, 110, 29)]).code == "other_face" and calls == ["largest", "every"]
    close = ask([seen(10, 10, 110, 30)])
    assert close.found and close.overlap == pytest.approx(20 / 64) and not close.again and calls == ["largest"]
    better = ask([seen(200, 0, 400, 200)], [seen(200, 0, 400, 200), seen(10, 10, 110, 40), seen(10, 10, 110, 70)])
    assert better.found and better.again and better.box[3] == 70 and better.ms > 0
    assert ask(FaceError("none", code="no_face")).code == "no_face" and calls == ["largest"]
    assert ask([]).code == "no_face" and calls == ["largest"]
    refused = ask(FaceError("small", code="face_too_small"), [seen(10, 10, 110, 74)])
    assert refused.found and refused.again
    assert ask(FaceError("small", code="face_too_small"), FaceError("none", code="no_face")).code == "face_too_small"
    bare = ask([seen(10, 10, 110, 74, points=False)])
    assert bare.code == "no_dense_landmarks" and bare.overlap == 1 and bare.points is None


def test_answers_come_back_as_they_were():
    from evaluate_weights_methods import Answer

    one = answer(face(yaw=12.0), shift=(0.25, 0.5), ms=3.5, again=True)
    back = Answer.from_dict(json.loads(json.dumps(one.to_dict())))
    np.testing.assert_allclose(back.points, one.points, atol=5e-5)
    np.testing.assert_allclose(back.euler, one.euler)
    assert (back.name, back.code, back.overlap, back.ms, back.again) == ("a", None, 1.0, 3.5, True)
    missed = Answer.from_dict(json.loads(json.dumps(Answer("x", "no_face").to_dict())))
    assert dataclasses.astuple(missed) == dataclasses.astuple(Answer("x", "no_face")) and not missed.found


class Counting:
    """A method that knows the truth, counts its calls, and is killed at the one of that number."""

    def __init__(self, kill_at: int = -1, broken: str = "") -> None:
        self.calls, self._kill_at, self._broken = [], kill_at, broken

    def __call__(self, one, pixels):
        if len(self.calls) == self._kill_at:
            raise KeyboardInterrupt
        self.calls.append(one.name)
        if one.name == self._broken:
            raise RuntimeError("a bug")
        return answer(one)

    def close(self) -> None:
        pass


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path, monkeypatch):
    import evaluate_weights_answers as module
    from evaluate_weights_methods import MethodSpec

    monkeypatch.setattr(module, "WARM_UP", 0)
    monkeypatch.setattr(Photo, "read", lambda self: np.zeros((8, 8, 3), np.uint8))
    faces, spec = face_set([face(name) for name in "abcdef"]), MethodSpec("fit")

    def run(method, given=faces):
        monkeypatch.setattr(module, "build", lambda spec: method)
        found = module.answers_of(given, spec, tmp_path, say=lambda text: None)
        assert [one.name for one in found] == [one.name for one in given.faces]
        return method.calls, found

    with pytest.raises(KeyboardInterrupt):
        run(Counting(kill_at=3))
    path = tmp_path / "profiled-fit.jsonl"
    # A line that a kill cut in two is asked for again.
    path.write_bytes(path.read_bytes()[:-9])
    calls, found = run(Counting(broken="e"))
    assert calls == ["c", "d", "e", "f"] and [one.code for one in found] == [None] * 4 + ["internal", None]
    # What a bug answered is no answer; the file is whole whatever was cut off before.
    assert run(Counting())[0] == ["e"] and run(Counting())[0] == []
    lines = path.read_text().splitlines()
    assert sorted(json.loads(line)["name"] for line in lines[1:]) == list("abcdef")
    # More faces of the same source are only added; another source is not mixed in.
    assert run(Counting(), face_set([face(name) for name in "bfgh"]))[0] == ["g", "h"]
    with pytest.raises(PathError, match="another source"):
        run(Counting(), dataclasses.replace(faces, source="another"))
    # Worker processes are sent these.
    job, (given, sent) = pickle.loads(pickle.dumps((module.make_job, (faces.faces, spec))))
    assert job is module.make_job and sent == spec and [one.name for one in given] == list("abcdef")


def test_weights_have_files_of_their_own(tmp_path):
    from evaluate_weights_methods import MethodSpec, method_specs

    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    specs = method_specs(["mediapipe", "auto"], weights=weights, pncc_weights=None, threads=1)
    assert specs == [MethodSpec("mediapipe"), MethodSpec("auto", str(weights), landmarks=str(locate(LANDMARK_ASSET)))]
    assert specs[0].files() == {} and list(specs[1].files()) == ["weights", "landmarks"]
    assert [spec.weights for spec in method_specs(["landmarks"], weights=weights, pncc_weights=None, threads=1)] == [
        str(locate(LANDMARK_ASSET))]


def test_the_report_says_what_is_shown():
    from evaluate_weights_report import faces_csv, markdown, verdict, wanted
    from evaluate_weights_scores import score_set

    from facerecon.metrics.bootstrap import Interval

    faces, answers = five_faces()
    scored = score_set(face_set(faces), answers, resamples=200)
    rows = {what: (got, holds) for _, what, _, got, holds in wanted([scored])}
    assert rows["faces found, all"] == ("4 / 5 (80.0 %)", "no") and rows["faces found, 60-90°"] == ("1 / 2 (50.0 %)", "no")
    assert rows["NME beyond 60° over that to 30°"] == (f"{4 / 1.5:.2f}", "no") and rows["yaw error"] == ("1.00°", "yes")
    better, holds = rows["(d) better than (b) in every bin, nme68"]
    assert holds == "yes" and better.count("-2.000") == 9 and better.count("*") == 3
    assert verdict([Interval(-1, -2, 0.1), Interval(-1, -2, -0.5)]) == "not shown"
    assert verdict([Interval(-1, -2, -0.1), Interval(0.1, -2, 2)]) == "no"
    text = markdown([scored], about="", resamples=200)
    shares = "2 / 2 (100.0 %) | 1 / 1 (100.0 %) | 1 / 2 (50.0 %) | 4 / 5 (80.0 %)"
    assert f"| (d) encoder + fit | {shares} | other_face 1 | 0 |" in text
    assert text.count("| (b) landmarks-only fit | found by all methods | 4 | 3.50 ") == 1 and "too few" in text
    table = faces_csv([scored]).splitlines()
    assert len(table) == 11 and table[1].startswith("profiled,a,a,5.0,0-30,fit,,1.0,0,") and table[-1].endswith(",,,,,")
