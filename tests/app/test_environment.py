"""The environment of a run: enough to know, years later, what it was made with."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hiresnn.app import folder as module
from hiresnn.app.folder import code_version, environment, threads


def test_it_holds_versions_machine_and_code_as_json() -> None:
    found = json.loads(json.dumps(environment()))
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")
    assert found["hiresnn"] == version("hiresnn")
    assert found["threads"] >= 1
    assert found["cpu"]
    assert found["date"].endswith("+00:00")
    assert set(found) >= {"torchvision", "numpy", "platform", "git_commit", "git_changed"}


def test_it_does_not_import_torch() -> None:
    code = "import sys; from hiresnn.app.folder import environment\nenvironment(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-package",))
    assert environment()["no-such-package"] is None


def test_the_threads_asked_for_count_where_torch_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_with_its_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "environment.py"
    file.write_text("one")
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(module, "__file__", str(file))
    # Inside somebody's checkout, but not part of it: not our commit.
    assert code_version() == (None, None)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert code_version() == (commit, False)
    file.write_text("two")
    assert code_version() == (commit, True)
