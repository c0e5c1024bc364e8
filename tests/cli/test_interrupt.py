"""Ctrl-C, a full standard output, odd paths and a removed working directory end in one sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..forked import Forked
from ..forked import hiresnn as command_line

LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def hiresnn(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hiresnn", *arguments]
    return subprocess.run(command, text=True, check=False, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("module", ["hiresnn.cli.shell", "typer", "hiresnn.app.recipe", "tomli_w"])
@pytest.mark.parametrize("swallowed", [False, True])
def test_ctrl_c_while_modules_are_loaded_ends_without_a_traceback(module: str, swallowed: bool) -> None:
    # The signal comes when the module is looked up; an extension module may turn the interrupt into an ImportError.
    code = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(10**6): pass
            except KeyboardInterrupt:
                if not {swallowed}: raise
                raise ImportError("cannot import name")
sys.meta_path.insert(0, Finder())
from hiresnn.cli import main
main(["recipes"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr in ("", "\nInterrupted.\n")


@LINUX
@pytest.mark.parametrize("command", [["recipes"], ["recipes", "show", "digits"], ["rules"], ["--version"]])
def test_a_full_standard_output_is_a_sentence(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = hiresnn(*command, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "Error: standard output cannot be written: No space left on device.\n"


def test_a_removed_working_directory_is_a_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from hiresnn.cli import main; main(['recipes'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "working directory no longer exists" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "digits", "--data", "~nouser/x"],
        ["train", "a" * 5000],
        ["train", "digits", "--data", "a" * 5000],
        ["evaluate", "a" * 5000],
        ["resume", os.fsdecode(b"caf\xe9")],
        ["recipes", "show", "a" * 5000],
        ["recipes", "copy", "digits", "a" * 5000],
    ],
)
def test_odd_names_end_in_a_short_sentence(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = Forked(command_line(*arguments)).wait()
    assert code in (1, 2)
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_a_command_without_work_to_continue_says_only_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hiresnn.cli import main

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hiresnn.app.recipe.shipped", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["recipes"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_signals_are_as_before_after_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    from hiresnn.cli import main

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert signal.getsignal(signal.SIGINT) is before


@LINUX
def test_a_closed_standard_output_loses_only_the_text() -> None:
    command = [sys.executable, "-m", "hiresnn", "recipes"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
