"""A run folder holds one run, has one writer, and is never half written."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

from hiresnn.app.folder import (
    CONVERSION,
    ENVIRONMENT,
    LOCK,
    METRICS,
    MODEL,
    RECIPE,
    RECORDS,
    RESULT,
    RunFolder,
    locked,
    read_record,
)
from hiresnn.app.recipe import dump, override, read
from hiresnn.errors import RunError

DIGITS = read("digits")
OTHER = override(DIGITS, {"seed": "1", "noise.step": "0.02"})
EPOCH = {"stage": "snn", "loss": 2.3, "train_accuracy": 10.0, "lr": 0.1, "seconds": 1.5}


def listing(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.name != LOCK}


def begun(path):
    with RunFolder.create(path, DIGITS) as folder:
        folder.write_bytes(MODEL, b"weights")
    return path


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_folder_holds_the_resolved_recipe_and_the_environment(tmp_path, resume):
    with RunFolder.create(tmp_path / "runs" / "a", DIGITS, resume=resume) as folder:
        assert folder.recipe == DIGITS
        assert folder.read_json(ENVIRONMENT)["python"]
    assert set(listing(tmp_path / "runs" / "a")) == {RECIPE, ENVIRONMENT}


def test_the_same_recipe_continues_where_resume_is_asked_and_leftovers_are_removed(tmp_path):
    (begun(tmp_path) / ".model.safetensors.1.hiresnn-part").touch()  # of a killed process
    with RunFolder.create(tmp_path, DIGITS, resume=True) as folder:
        assert folder.require(MODEL).read_bytes() == b"weights"
    assert set(listing(tmp_path)) == {RECIPE, ENVIRONMENT, MODEL}


def test_a_lock_removes_the_leftovers_of_the_folder_and_its_caches(tmp_path):
    (tmp_path / "cache-1").mkdir()
    for folder in (tmp_path, tmp_path / "cache-1"):
        (folder / ".unit.npz.1.hiresnn-part").touch()
    with locked(tmp_path, "audit folder"):
        assert not list(tmp_path.rglob("*.hiresnn-part"))


@pytest.mark.parametrize(
    ("recipe", "resume", "message"),
    [
        (DIGITS, False, r"holds this run; continue it with hiresnn resume \S+, or choose another"),
        (OTHER, False, r"holds another run, which differs in seed, noise\.step; continue that one with hiresnn resume"),
        (OTHER, True, r"holds another run, which differs in seed, noise\.step; continue that one with hiresnn resume"),
    ],
)
def test_a_run_is_not_overwritten(tmp_path, recipe, resume, message):
    before = listing(begun(tmp_path))
    with pytest.raises(RunError, match=message):
        RunFolder.create(tmp_path, recipe, resume=resume)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_no_training_has_begun_is_taken_by_the_corrected_command(tmp_path, resume):
    with RunFolder.create(tmp_path, DIGITS) as folder:
        folder.write_text(CONVERSION, "layers")  # written before the calibration, which may fail
    corrected = override(DIGITS, {"data.source": "right.npz"})
    with RunFolder.create(tmp_path, corrected, resume=resume) as folder:
        assert folder.recipe == corrected
    with RunFolder.create(tmp_path, corrected):  # again, without --resume
        pass


def test_a_folder_with_foreign_files_is_refused_and_gets_not_even_a_lock(tmp_path):
    (tmp_path / "written").mkdir()
    (tmp_path / "written" / RECIPE).write_text(dump(OTHER))
    with pytest.raises(RunError, match="already holds another run"):
        RunFolder.create(tmp_path / "written", DIGITS)
    shutil.rmtree(tmp_path / "written")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is no run folder but holds files, such as thesis\.tex; choose"):
        RunFolder.create(tmp_path, DIGITS, resume=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match=r"thesis\.tex is a file; choose another --out"):
        RunFolder.create(tmp_path / "thesis.tex", DIGITS)


def test_a_second_writer_is_refused_until_the_first_has_closed_also_in_another_process(tmp_path):
    first = RunFolder.create(tmp_path, DIGITS)
    with pytest.raises(RunError, match=r"run folder .* is in use: another process .*\.lock; wait"):
        RunFolder.create(tmp_path, DIGITS, resume=True)
    code = f"from hiresnn.app.folder import RunFolder; RunFolder.open({str(tmp_path)!r}, write=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is in use: another process" in done.stderr
    first.close()
    first.close()
    RunFolder.create(tmp_path, DIGITS, resume=True).close()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"audit folder .*file/a cannot be written \(Not a directory\)"):
        locked(tmp_path / "file" / "a", "audit folder")


def test_readers_may_read_while_it_is_written_but_not_write(tmp_path):
    with RunFolder.create(tmp_path, DIGITS):
        reader = RunFolder.open(tmp_path)
        assert reader.recipe == DIGITS
        with pytest.raises(RunError, match="was opened for reading"):
            reader.write_text("note.txt", "text")


def test_results_can_be_added_to_a_finished_run_and_come_back_as_they_are(tmp_path):
    figures = {"more": None, "clean": 90, "attacks": {"fgsm": {"new": [1], "white_box": 12.5}}, "images": 2, "seed": 0}
    RunFolder.create(tmp_path, DIGITS).close()
    with RunFolder.open(tmp_path, write=True) as folder:
        folder.write_json(RESULT, figures)
    assert json.dumps(RunFolder.open(tmp_path).read_json(RESULT)) == json.dumps(figures)


def test_a_damaged_run_is_refused_in_one_sentence(tmp_path):
    run, empty, file = tmp_path / "run", tmp_path / "empty", tmp_path / "file"
    begun(run)
    empty.mkdir()
    file.touch()
    (run / METRICS).write_text(json.dumps({**EPOCH, "epoch": 1}) + '\n{"epo')

    def with_recipe(text):
        def opened():
            (run / RECIPE).write_text(text)
            return RunFolder.open(run).recipe

        return opened

    refused: dict[str, Callable[[], object]] = {
        r"run folder .*absent does not exist; name a folder": lambda: RunFolder.open(tmp_path / "absent"),
        r"file is a file; name a folder": lambda: RunFolder.open(file),
        r"empty has no recipe\.toml": lambda: RunFolder.open(empty),
        # The cards of these networks name such a folder in their next command.
        r"digits-hire is a network of the zoo, .* hiresnn zoo copy digits-hire digits-hire": lambda: RunFolder.open(
            "digits-hire"
        ),
        r"digits-hir does not exist; did you mean \"digits-hire\"\? name a folder": lambda: RunFolder.open(
            "digits-hir"
        ),
        r"has no result\.json; finish it with hiresnn resume": lambda: RunFolder.open(run).require(RESULT),
        r"metrics\.jsonl, line 2 is damaged": lambda: RunFolder.open(run).read_metrics(),
        r"cannot be read: .*recipe\.toml, ": with_recipe("seed = "),
        r"cannot be read: .*'elsewhere' is not allowed": with_recipe(dump(DIGITS).replace('"hire"', '"elsewhere"')),
    }
    for message, opening in refused.items():
        with pytest.raises(RunError, match=message) as caught:
            opening()
        assert "\n" not in str(caught.value)


def test_metrics_are_written_whole_and_read_back(tmp_path):
    with RunFolder.create(tmp_path, DIGITS) as folder:
        assert folder.read_metrics() == []
        rows = [{**EPOCH, "epoch": 1}, {**EPOCH, "epoch": 2}]
        folder.write_metrics(rows[:1])
        folder.write_metrics(rows)
        assert folder.read_metrics() == rows
    assert [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()] == rows


def test_a_shared_folder_keeps_the_recipe_of_whoever_came_first(tmp_path):
    for recipe in (DIGITS, override(DIGITS, {"snn.lr": "0.5"})):
        with RunFolder.shared(tmp_path / "ann", recipe, wait=lambda: pytest.fail("nobody else writes")) as folder:
            assert folder.recipe == DIGITS


def test_a_second_writer_of_a_shared_folder_says_so_once_and_waits_for_the_first(tmp_path):
    first, lines = RunFolder.shared(tmp_path, DIGITS, wait=lambda: None), []

    def wait():
        lines.append("waiting")
        first.write_bytes(MODEL, b"weights")
        first.close()

    with RunFolder.shared(tmp_path, DIGITS, wait=wait) as second:
        assert second.require(MODEL).read_bytes() == b"weights"
    assert lines == ["waiting"]
    (tmp_path / RECIPE).write_text("seed = ")
    for _ in range(2):  # refused, and not left locked
        with pytest.raises(RunError, match="cannot be read"):
            RunFolder.shared(tmp_path, DIGITS, wait=lambda: pytest.fail("it is locked"))


WRONG = {
    "no JSON": "{",
    "a missing key": '{"other": 1}',
    "nesting of 100,000 levels": "[" * 100_000,
    "NaN": '{"clean": NaN, "attacks": {}, "images": 1, "seed": 0}',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_file_that_no_run_has_written_is_damaged(name, text):
    with pytest.raises(RunError, match=f"run/{name} is damaged .*; delete the file") as caught:
        read_record(text, name, f"run/{name}")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_the_environment_holds_versions_machine_and_code_as_json_without_importing_torch():
    code = "import sys; from hiresnn.app.folder import environment as e; import json; print(json.dumps(e()))"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    values = json.loads(done.stdout)
    assert values["python"] == platform.python_version()
    assert values["torch"] == version("torch")
    assert values["hiresnn"] == version("hiresnn")
    assert values["threads"] >= 1
    assert values["cpu"]
    assert values["date"].endswith("+00:00")
    assert set(values) >= {"torchvision", "numpy", "platform", "git_changed"}
    assert len(values["git_commit"] or 40 * "?") == 40  # None outside a checkout
