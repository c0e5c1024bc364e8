"""The shell: instant help, one sentence an error, exit codes that scripts can trust."""

import re
import subprocess
import sys

import pytest

from hiresnn import __version__
from hiresnn.cli import main
from hiresnn.errors import DataError, UsageError

COMMANDS = {
    *("quickstart", "train", "resume", "evaluate", "audit", "export", "report", "board", "publish", "reproduce"),
    *("import-checkpoint", "attacks", "rules", "doctor", "recipes", "analyze", "zoo"),
}


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    code = caught.value.code
    return code if isinstance(code, int) else 0


def test_help_never_waits_for_torch() -> None:
    code = (
        "import sys\n"
        "from hiresnn.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('torch' in sys.modules, 'hiresnn.app.recipe' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
    assert "hiresnn quickstart" in done.stdout


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "hiresnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"hiresnn {__version__}\n"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert "Usage: hiresnn" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["trian"], ["train"], ["recipes", "--nope"], ["evaluate", "a", "--limit", "0"]])
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*arguments) == 2
    assert "Usage: hiresnn" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "code"), [(DataError, 1), (UsageError, 2)])
def test_an_error_is_its_sentence_on_standard_error_and_its_exit_code(
    kind: type[Exception], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "x.npz has no field y_test; add it, as an array of whole numbers [0, 9], one an image, in order."

    def failing(_: str) -> str:
        raise kind(sentence)

    monkeypatch.setattr("hiresnn.app.recipe.shipped_text", failing)
    assert exit_code("recipes", "show", "digits") == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"Error: {sentence}\n")


def test_a_file_system_that_says_no_is_a_sentence_and_a_defect_stays_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [PermissionError(13, "Permission denied", "/root/runs"), OSError("a defect")]
    monkeypatch.setattr("hiresnn.app.recipe.shipped_text", lambda _: (_ for _ in ()).throw(errors.pop(0)))
    assert exit_code("recipes", "show", "digits") == 1
    assert capsys.readouterr().err == "Error: /root/runs: Permission denied; check name and permissions.\n"
    assert exit_code("recipes", "show", "digits") == 1
    assert capsys.readouterr() == ("", "Error: a defect\n")
    errors.append(OSError("a defect"))
    with pytest.raises(OSError, match="a defect"):
        main(["recipes", "show", "digits", "--debug"])


@pytest.mark.parametrize("arguments", [["--debug", "recipes", "show", "nope"], ["recipes", "show", "nope", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="nope"):
        main(arguments)


def test_the_commands_are_the_promised_ones(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code("--help")
    shown = set(re.findall(r"^│ ([a-z][a-z-]*) ", capsys.readouterr().out, re.MULTILINE))
    assert shown == COMMANDS
