"""The memory of a run: what counts as done, what a kill may leave behind, what is never deleted."""

from __future__ import annotations

import json

import pytest

from facerecon.cli.inputs import Input
from facerecon.cli.jobs import Outcome, file_state
from facerecon.cli.journal import JOURNAL, MANIFEST, Journal
from facerecon.errors import ArgumentError, PathError

OPTIONS = {"model": "open", "formats": ("obj",)}


@pytest.fixture
def items(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_text(name)
    return [Input(str(tmp_path / f"{name}.png"), name) for name in "abc"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def done(item, out, *, status="ok"):
    """An outcome with one file that is there."""
    out.mkdir(exist_ok=True)
    (out / f"{item.stem}_0.obj").write_text("mesh")
    record = {"image": item.path, "status": status, "files": {"obj": f"{item.stem}_0.obj"}}
    return Outcome([record], file_state(item.path))


def opened(out, *, options=OPTIONS, **how):
    journal = Journal(out, options, **{"resume": False, "overwrite": False, **how})
    journal.start()
    return journal


def killed_run(items, out):
    journal = opened(out)
    for item in items:
        journal.add(item, done(item, out))
    journal._stream.close()


def test_a_killed_run_is_remembered(items, out):
    killed_run(items[:2], out)
    assert not (out / MANIFEST).exists()
    journal = opened(out, resume=True)
    assert [journal.finished(item) is not None for item in items] == [True, True, False]


def test_a_torn_line_is_dropped_and_counted_and_does_not_spoil_the_next(items, out):
    killed_run(items[:2], out)
    whole = (out / JOURNAL).read_bytes()
    for cut in range(len(whole.split(b"\n")[0]) + 2, len(whole), 9):
        (out / JOURNAL).write_bytes(whole[:cut])
        journal = Journal(out, OPTIONS, resume=True, overwrite=False)
        assert journal.torn == 1 and journal.finished(items[0]) and journal.finished(items[1]) is None
    journal.start()
    journal.add(items[1], done(items[1], out))
    journal._stream.close()
    again = Journal(out, OPTIONS, resume=True, overwrite=False)
    assert again.torn == 0 and again.finished(items[0]) and again.finished(items[1])


@pytest.mark.parametrize("line", [b"{}", b"[1]", b'{"output": "a"}', b"\xff\xfe", b'{"output": "x", "image": "a", "state": null, "records": [3]}'])
def test_damaged_lines_are_dropped(items, out, line):
    killed_run(items[:1], out)
    with open(out / JOURNAL, "ab") as stream:
        stream.write(line + b"\n")
    journal = Journal(out, OPTIONS, resume=True, overwrite=False)
    assert journal.torn == 1 and journal.finished(Input("a", "x")) is None and journal.finished(items[0])


def test_a_changed_photo_a_missing_result_and_a_failure_are_done_again(items, out):
    killed_run(items, out)
    journal = opened(out, resume=True)
    journal.add(items[2], done(items[2], out, status="failed"))
    (out / "a_0.obj").unlink()
    with open(items[1].path, "a") as stream:
        stream.write("more")
    journal = opened(out, resume=True)
    assert [journal.finished(item) for item in items] == [None, None, None]
    journal.clear(items[1])
    assert not (out / "b_0.obj").exists() and (out / "c_0.obj").exists()


def test_a_refusal_counts_as_done(items, out):
    journal = opened(out)
    journal.add(items[0], Outcome([{"image": items[0].path, "status": "refused", "code": "no_face", "message": ""}],
                                  file_state(items[0].path)))
    assert opened(out, resume=True).finished(items[0])


def test_the_manifest_is_in_input_order_whatever_came_first(items, out):
    journal = opened(out)
    outcomes = {item.stem: done(item, out) for item in items}
    for name in "cab":
        journal.add(items["abc".index(name)], outcomes[name])
    journal.close(outcomes[item.stem].records for item in items)
    images = [json.loads(line)["image"] for line in (out / MANIFEST).read_text().splitlines()]
    assert images == [item.path for item in items]


def test_an_earlier_run_is_not_touched_without_a_word(items, out):
    killed_run(items, out)
    with pytest.raises(PathError, match="--resume") as caught:
        Journal(out, OPTIONS, resume=False, overwrite=False)
    assert caught.value.code == "path_exists" and (out / "a_0.obj").exists()


def test_other_options_cannot_be_resumed_and_are_named(items, out):
    killed_run(items, out)
    with pytest.raises(ArgumentError, match=r"formats: was \['obj'\], now \['ply'\]"):
        Journal(out, {**OPTIONS, "formats": ("ply",)}, resume=True, overwrite=False)


def test_overwrite_removes_old_results_and_nothing_else(items, out, tmp_path):
    killed_run(items, out)
    (out / "mine.txt").write_text("keep")
    (tmp_path / "victim.txt").write_text("keep")
    entry = {"output": "evil", "image": "evil", "state": None, "records": [
        {"image": "evil", "status": "ok", "files": {"a": "../victim.txt", "b": str(tmp_path / "victim.txt")}}]}
    with open(out / JOURNAL, "a") as stream:
        stream.write(json.dumps(entry) + "\n")
    opened(out, overwrite=True)
    assert (tmp_path / "victim.txt").exists() and (out / "mine.txt").exists()
    assert not list(out.glob("*.obj")) and not (out / JOURNAL).read_text()


def test_leftovers_of_a_kill_are_swept_in_subfolders_too(items, out):
    killed_run(items, out)
    (out / "sub").mkdir()
    leftovers = [out / ".x.facerecon-part.obj", out / "sub" / ".y.facerecon-part.png"]
    for path in leftovers:
        path.write_text("half")
    opened(out, resume=True)
    assert not any(path.exists() for path in leftovers) and (out / "a_0.obj").exists()


def test_tracebacks_go_to_the_log(items, out):
    journal = opened(out)
    journal.add(items[0], Outcome([{"image": items[0].path, "status": "failed", "code": "internal", "message": ""}], trace="Trace!"))
    assert "Trace!" in (out / "errors.log").read_text() and items[0].path in (out / "errors.log").read_text()


def test_a_folder_that_is_a_file_is_refused(items):
    with pytest.raises(PathError) as caught:
        Journal(items[0].path, OPTIONS, resume=False, overwrite=False)
    assert caught.value.code == "path_not_file"
