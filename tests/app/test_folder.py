"""A run folder holds one run, has one writer, and is never half written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hiresnn.app.folder import CONVERSION, ENVIRONMENT, LOCK, METRICS, MODEL, RECIPE, RESULT, RunFolder
from hiresnn.app.recipe import Recipe, dump, override, read
from hiresnn.errors import RunError

DIGITS = read("digits")
EPOCH = {"stage": "snn", "loss": 2.3, "train_accuracy": 10.0, "lr": 0.1, "seconds": 1.5}


def listing(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.name != LOCK}


def test_a_new_folder_holds_the_resolved_recipe_and_the_environment(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs" / "a", DIGITS) as folder:
        assert folder.recipe == DIGITS
        assert folder.read_json(ENVIRONMENT)["python"]
    assert set(listing(tmp_path / "runs" / "a")) == {RECIPE, ENVIRONMENT}


def test_an_empty_folder_becomes_a_run_folder(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, DIGITS, resume=True) as folder:
        assert folder.recipe == DIGITS


def test_the_same_recipe_continues_where_resume_is_asked(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, DIGITS) as folder:
        folder.write_bytes(MODEL, b"weights")
    with RunFolder.create(tmp_path, DIGITS, resume=True) as folder:
        assert folder.require(MODEL).read_bytes() == b"weights"


def test_a_folder_left_before_its_recipe_was_written_starts_afresh(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    (tmp_path / ENVIRONMENT).write_text("{}")
    (tmp_path / ".recipe.toml.123.hiresnn-part").write_text("half")
    with RunFolder.create(tmp_path, DIGITS):
        pass
    assert set(listing(tmp_path)) == {RECIPE, ENVIRONMENT}


def begun(path: Path) -> None:
    """A folder in which a training has begun."""
    with RunFolder.create(path, DIGITS) as folder:
        folder.write_metrics([{"epoch": 1}])


def test_the_same_run_without_resume_is_refused_and_unchanged(tmp_path: Path) -> None:
    begun(tmp_path)
    before = listing(tmp_path)
    with pytest.raises(RunError, match="already holds this run; continue it with --resume or choose another"):
        RunFolder.create(tmp_path, DIGITS)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_another_run_is_refused_with_the_keys_that_differ_and_unchanged(tmp_path: Path, resume: bool) -> None:
    begun(tmp_path)
    before = listing(tmp_path)
    other: Recipe = override(DIGITS, {"seed": "1", "noise.step": "0.02"})
    with pytest.raises(RunError, match=r"holds another run, which differs in seed, noise\.step; choose another"):
        RunFolder.create(tmp_path, other, resume=resume)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_no_training_has_begun_is_taken_by_the_corrected_command(
    tmp_path: Path, resume: bool
) -> None:
    with RunFolder.create(tmp_path, DIGITS) as folder:
        folder.write_text(CONVERSION, "layers")  # written before the calibration, which may fail
    corrected = override(DIGITS, {"data.source": "right.npz"})
    with RunFolder.create(tmp_path, corrected, resume=resume) as folder:
        assert folder.recipe == corrected
    with RunFolder.create(tmp_path, corrected):  # again, without --resume
        pass


def test_a_folder_with_a_recipe_that_a_user_wrote_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text(dump(override(DIGITS, {"seed": "1"})))
    with pytest.raises(RunError, match="already holds another run"):
        RunFolder.create(tmp_path, DIGITS)


def test_a_folder_with_foreign_files_is_refused_and_gets_not_even_a_lock(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is no run folder but holds files, such as thesis\.tex; choose"):
        RunFolder.create(tmp_path, DIGITS, resume=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    with pytest.raises(RunError, match=r"a is a file; choose another --out"):
        RunFolder.create(tmp_path / "a", DIGITS)
    with pytest.raises(RunError, match=r"a/b cannot be .*check its permissions"):
        RunFolder.create(tmp_path / "a" / "b", DIGITS)


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, DIGITS)
    with pytest.raises(RunError, match=r"is in use: another process .*\.lock\); wait"):
        RunFolder.create(tmp_path, DIGITS, resume=True)
    with pytest.raises(RunError, match="is in use"):
        RunFolder.open(tmp_path, write=True)
    first.close()
    first.close()
    RunFolder.create(tmp_path, DIGITS, resume=True).close()


def test_a_writer_in_another_process_is_refused_too(tmp_path: Path) -> None:
    code = f"from hiresnn.app.folder import RunFolder; RunFolder.open({str(tmp_path)!r}, write=True)"
    with RunFolder.create(tmp_path, DIGITS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is in use: another process" in done.stderr


def test_a_refused_folder_is_not_left_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(RunError, match="the disk is full"):
        RunFolder.create(tmp_path, DIGITS)
    monkeypatch.undo()
    RunFolder.create(tmp_path, DIGITS).close()


def test_readers_may_read_while_it_is_written_but_not_write(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, DIGITS):
        reader = RunFolder.open(tmp_path)
        assert reader.recipe == DIGITS
        with pytest.raises(RunError, match="was opened for reading"):
            reader.write_text("note.txt", "text")


def test_results_can_be_added_to_a_finished_run(tmp_path: Path) -> None:
    figures = {"clean": 90.5, "attacks": {"fgsm": {"white_box": 12.5}}, "images": 200, "seed": 0}
    RunFolder.create(tmp_path, DIGITS).close()
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.write_json(RESULT, figures)
    assert RunFolder.open(tmp_path).read_json(RESULT) == figures


@pytest.mark.parametrize(("make", "reason"), [("nothing", "does not exist"), ("file", "is a file")])
def test_what_is_no_folder_is_no_run(tmp_path: Path, make: str, reason: str) -> None:
    if make == "file":
        (tmp_path / "a").touch()
    with pytest.raises(RunError, match=rf"run folder .*a {reason}; name a folder"):
        RunFolder.open(tmp_path / "a")


def test_the_name_of_a_network_of_the_package_is_answered_with_the_command_that_copies_it() -> None:
    """The cards of these networks name such a folder in their next command."""
    with pytest.raises(
        RunError, match=r"digits-hire is a network of the package: .* hiresnn zoo copy digits-hire digits-hire\."
    ):
        RunFolder.open("digits-hire")


def test_a_run_by_a_method_that_no_package_offers_any_more_says_what_to_install(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, DIGITS).close()
    text = (tmp_path / RECIPE).read_text()
    (tmp_path / RECIPE).write_text(text.replace('method = "hire"', 'method = "elsewhere"'))
    with pytest.raises(
        RunError, match=r"cannot be read: .*method = \"elsewhere\" is not allowed.*install the package that offers"
    ):
        _ = RunFolder.open(tmp_path).recipe


def test_a_folder_without_a_recipe_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no recipe\.toml"):
        RunFolder.open(tmp_path)


def test_a_missing_file_is_named_with_the_mend(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, DIGITS).close()
    with pytest.raises(RunError, match=r"has no model\.safetensors; finish it with hiresnn train and --resume"):
        RunFolder.open(tmp_path).require(MODEL)


def test_a_damaged_recipe_is_named(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, DIGITS).close()
    (tmp_path / RECIPE).write_text("seed = ")
    with pytest.raises(RunError, match=r"cannot be read: .*recipe\.toml, "):
        RunFolder.create(tmp_path, DIGITS, resume=True)


def test_metrics_are_written_whole_and_read_back(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, DIGITS) as folder:
        assert folder.read_metrics() == []
        rows = [{**EPOCH, "epoch": 1}, {**EPOCH, "epoch": 2}]
        folder.write_metrics(rows[:1])
        folder.write_metrics(rows)
        assert folder.read_metrics() == rows
    assert [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()] == rows


def test_damaged_metrics_are_named_by_line(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, DIGITS).close()
    (tmp_path / METRICS).write_text(json.dumps({**EPOCH, "epoch": 1}) + '\n{"epo')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2 is damaged"):
        RunFolder.open(tmp_path).read_metrics()


def test_a_shared_folder_keeps_the_recipe_of_whoever_came_first(tmp_path: Path) -> None:
    def wait() -> None:
        raise AssertionError("nobody else writes")

    with RunFolder.shared(tmp_path / "ann", DIGITS, wait=wait):
        pass
    with RunFolder.shared(tmp_path / "ann", override(DIGITS, {"snn.lr": "0.5"}), wait=wait) as folder:
        assert folder.recipe == DIGITS


def test_a_second_writer_of_a_shared_folder_says_so_once_and_waits_for_the_first(tmp_path: Path) -> None:
    first, said = RunFolder.shared(tmp_path, DIGITS, wait=lambda: None), []

    def wait() -> None:
        said.append("waiting")
        first.write_bytes(MODEL, b"weights")
        first.close()

    with RunFolder.shared(tmp_path, DIGITS, wait=wait) as second:
        assert second.require(MODEL).read_bytes() == b"weights"
    assert said == ["waiting"]


def test_a_damaged_shared_folder_is_refused_and_not_left_locked(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text("seed = ")
    for _ in range(2):
        with pytest.raises(RunError, match="cannot be read"):
            RunFolder.shared(tmp_path, DIGITS, wait=lambda: pytest.fail("it is locked"))


def test_what_the_system_refuses_is_told_in_one_sentence(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", DIGITS).close()
    (tmp_path / "run" / LOCK).unlink()
    (tmp_path / "run" / LOCK).mkdir()
    with pytest.raises(RunError, match=r"run cannot be written \(.*Is a directory.*\); check its permissions"):
        RunFolder.open(tmp_path / "run", write=True)
    long = tmp_path / ("a" * 300)
    for refused in (lambda: RunFolder.create(long, DIGITS), lambda: RunFolder.open(long)):
        with pytest.raises(RunError, match="aaa"):
            refused()


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder.create(tmp_path, DIGITS) as folder:
        folder.write_json(RESULT, {})

    def forbidden(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", forbidden)
    for name, read_it in {RECIPE: lambda: folder.recipe, RESULT: lambda: folder.read_json(RESULT)}.items():
        with pytest.raises(RunError, match=rf"cannot be used \(.*Permission denied: '.*{name}'\)"):
            read_it()


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, DIGITS) as folder, pytest.raises(RunError, match="rename the file or folder"):
        folder.write_text("note.txt", "caf\udce9")
    assert not (tmp_path / "note.txt").exists()
