"""`hiresnn doctor` says what is broken and what is only slow; `hiresnn quickstart` prints its table."""

from pathlib import Path

import pytest

from hiresnn.cli import doctor
from hiresnn.cli.doctor import Finding

from .commands import run, stand_in


def checked(monkeypatch, **findings):
    def check(finding):
        if isinstance(finding, Exception):
            raise finding
        return finding

    monkeypatch.setattr(doctor, "CHECKS", {name: lambda f=f: check(f) for name, f in findings.items()})
    return run("doctor")


def test_a_slow_machine_is_a_sound_one(monkeypatch, capsys):
    assert checked(monkeypatch, CUDA=Finding("slow", "no [GPU] here"), cache=Finding("ok", "there")) == 0
    assert "no [GPU] here" in capsys.readouterr().out


def test_something_broken_is_named_and_ends_with_one(monkeypatch, capsys):
    assert checked(monkeypatch, torch=ImportError("no torch"), cache=Finding("ok", "there")) == 1
    shown = capsys.readouterr()
    assert "ImportError: no torch" in shown.out
    assert shown.err == "Broken: torch.\n"


def test_a_missing_compiler_is_slow_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    finding = doctor.CHECKS["compiler"]()
    assert finding.verdict == "slow"
    assert "install g++" in finding.detail


def test_a_cache_may_be_missing_but_not_below_a_file(tmp_path, monkeypatch):
    check = doctor.CHECKS["cache"]
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "new" / "cache"))
    assert check() == Finding("ok", str(tmp_path / "new" / "cache"))
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").touch()
    assert check().verdict == "broken"


def test_cheap_checks_find_this_machine_sound():
    for name in ("Python", "torch", "threads", "neuron"):
        assert doctor.CHECKS[name]().verdict == "ok"
    for name in ("bfloat16", "CUDA"):
        assert doctor.CHECKS[name]().verdict in ("ok", "slow")


@pytest.mark.parametrize(
    ("arguments", "out", "seed"),
    [([], Path("runs/quickstart"), 0), (["--out", "first", "--seed", "2"], Path("first"), 2)],
)
def test_quickstart_prints_its_table_and_the_next_command(monkeypatch, capsys, arguments, out, seed):
    def quickstart(folder, *, seed, progress):
        return f"table of {folder} with seed {seed}"

    stand_in(monkeypatch, "hiresnn.app.quickstart", quickstart=quickstart)
    assert run("quickstart", *arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"table of {out} with seed {seed}\n")
    assert f"Next: hiresnn audit {out / f'hire-seed{seed}'}" in printed
