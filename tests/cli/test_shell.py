"""All commands: instant help, one sentence for each error, exit codes that scripts can trust."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hiresnn import __version__
from hiresnn.cli import main
from hiresnn.errors import DataError, UsageError

from .commands import plain, run

COMMANDS = {
    *(
        "quickstart",
        "train",
        "resume",
        "evaluate",
        "audit",
        "certify",
        "events",
        "export",
        "report",
        "board",
        "publish",
        "reproduce",
    ),
    *("import-checkpoint", "attacks", "rules", "doctor", "recipes", "analyze", "zoo"),
}


def test_help_never_waits_for_torch():
    code = (
        "import sys\n"
        "from hiresnn.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*({'torch', 'pydantic', 'hiresnn.app.recipe'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n\n")
    assert "hiresnn quickstart" in done.stdout


def test_the_module_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "hiresnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"hiresnn {__version__}\n"


def test_the_commands_are_the_promised_ones(capsys):
    run("--help")
    assert set(re.findall(r"^│ ([a-z][a-z-]*) ", capsys.readouterr().out, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        ("audit", ("TARGET", "thorough", "--twin", "card.json", "executes that file", "default: quick")),
        ("report", ("card.json", "--out")),
        ("train", ("KEY=VALUE", "snn.epochs=5", "Seed of all random numbers")),
        ("analyze energy", ("hiresnn analyze energy runs/mine", "Images per batch")),
        *((command, ("Usage: hiresnn",)) for command in sorted(COMMANDS - {"audit", "report", "train"})),
    ],
)
def test_every_command_explains_itself(command, texts, capsys):
    assert run(*command.split(), "--help") == 0
    text = plain(capsys.readouterr().out)
    for expected in texts:
        assert expected in text
    assert "Options:" not in text  # they became the help of each option


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("train", 2, "Missing argument"),
        ("evaluate a --limit 0", 2, "--limit"),
        ("evaluate nowhere", 1, "run folder nowhere does not exist"),
        ("train digits --set snn.lr", 2, "--set 'snn.lr' is not KEY=VALUE"),
        ("train digits --epochs 5", 2, "write --set ann.epochs=... or --set snn.epochs=..."),
        ("train digits --weights trained.pt", 2, "there is no file trained.pt; name a .safetensors"),
        ("train digits --model vgg6", 2, "--model 'vgg6': did you mean \"vgg16\"? choose one of vgg5, "),
        ("recipes show digit", 2, "no recipe of the package is called 'digit'; did you mean"),
        ("recipes copy digits taken", 2, "taken exists and is not replaced"),
        ("analyze conversion a --timesteps 8;16", 2, "numbers separated by commas"),
        ("report nowhere -o page.txt", 2, "not an HTML file"),
        ("report nowhere -o none/page.html", 2, "there is no folder"),
        ("report card.json -o page.html", 1, "card.json is damaged"),
        ("audit", 2, "Missing argument 'TARGET'"),
        ("audit a --verify card.json --images 9", 2, "--images has no effect with --verify"),
        ("audit mine.py:network", 2, "has no data set of its own; name one with --data"),
        ("audit nowhere", 1, "run folder nowhere does not exist"),
        ("publish mine mine --dry-run again", 2, "write user/name"),
    ],
)
def test_an_error_is_a_sentence_on_standard_error_and_an_exit_code(
    arguments, code, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("card.json").write_text("{}")
    Path("taken").touch()
    Path("mine.py").write_text(
        "from torch import nn\ndef network(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"
    )
    assert run(*arguments.split()) == code
    printed = capsys.readouterr()
    assert "".join(message.split()) in "".join(plain(printed.err).split())  # lines in a box break anywhere
    assert printed.out == ""
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"card.json", "taken", "mine.py"}


def test_what_the_file_system_refuses_is_a_sentence(monkeypatch, capsys):
    errors = [PermissionError(13, "Permission denied", "/root/runs"), OSError("a defect"), OSError("a defect")]
    monkeypatch.setattr("hiresnn.app.recipe.text_of", lambda _: (_ for _ in ()).throw(errors.pop(0)))
    assert run("recipes", "show", "digits") == 1
    assert capsys.readouterr().err == "Error: /root/runs: Permission denied; check name and permissions.\n"
    assert run("recipes", "show", "digits") == 1
    assert capsys.readouterr() == ("", "Error: a defect\n")
    with pytest.raises(OSError, match="a defect"):
        main(["recipes", "show", "digits", "--debug"])


@pytest.mark.parametrize(("error", "code"), [(DataError("x"), 1), (UsageError("x"), 2), (KeyboardInterrupt(), 130)])
def test_exit_codes(error, code, monkeypatch, capsys):
    monkeypatch.setattr("hiresnn.app.recipe.shipped", lambda: (_ for _ in ()).throw(error))
    assert run("recipes") == code
    assert capsys.readouterr() == ("", "\nInterrupted.\n" if code == 130 else "Error: x\n")


@pytest.mark.parametrize("arguments", [["--debug", "recipes", "show", "nope"], ["recipes", "show", "nope", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(arguments):
    with pytest.raises(UsageError, match="nope"):
        main(arguments)


@pytest.mark.parametrize(
    ("output", "code", "errors"),
    [
        ("pipe", 1, ""),  # as in hiresnn recipes | head -1
        ("/dev/full", 1, "Error: standard output cannot be written: No space left on device.\n"),
        (">&-", 0, ""),
    ],
)
@pytest.mark.parametrize("command", ["recipes", "attacks"])  # one prints, the other lets rich print
def test_a_closed_or_full_standard_output_ends_without_a_traceback(command, output, code, errors):
    words = [sys.executable, "-m", "hiresnn", command]
    if output == ">&-":
        words = ["sh", "-c", f"{shlex.join(words)} >&-"]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer if output == "pipe" else "/dev/full", "w") as stdout:  # noqa: PTH123
        done = subprocess.run(words, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, errors)


@pytest.mark.parametrize(
    ("line", "completion"),
    [
        ("train robust-d", {"robust-digits"}),
        ("recipes show robust-d", {"robust-digits"}),
        ("train digits --method mp", {"mppd-tv", "mpd-sgr"}),
        ("train digits --set snn.ti", {"snn.timesteps="}),
        ("evaluate digits-h", {"digits-hire"}),
        ("evaluate digits-hire --attack pg", {"pgd", "pgd-restarts"}),
        ("audit digits-h", {"digits-hire"}),
        ("audit runs/", {"runs/mine"}),
        ("export digits-h", {"digits-hire"}),
        ("zoo show digits-h", {"digits-hire"}),
        ("analyze energy digits-h", {"digits-hire"}),
    ],
)
def test_the_shell_completes_names(line, completion, tmp_path):
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/recipe.toml").touch()
    words = f"hiresnn {line}"
    instruction = {"_HIRESNN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    environment = {**os.environ, **instruction}
    command = [sys.executable, "-m", "hiresnn"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert set(done.stdout.split()) == completion, done.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("train", "fashion-mnist"),
        ("evaluate", "fashion-mnist"),
        ("certify", "fashion-mnist"),
        ("doctor", "list every file"),
    ],
)
def test_commands_that_share_an_option_have_their_own_help_for_it(command, text, capsys):
    assert run(command, "--help") == 0
    text_of_option = re.search(r"--data SOURCE (.*?) --[a-z]", plain(capsys.readouterr().out))
    assert text_of_option is not None
    assert text in text_of_option[1]
