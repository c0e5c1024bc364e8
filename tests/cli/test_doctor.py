"""`hiresnn doctor` says what is broken and what is only slow; `hiresnn quickstart` prints its table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

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


def test_a_compiler_that_lacks_a_header_is_slow_and_the_reason_is_shown(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))  # without Python.h
    finding = doctor.CHECKS["compiler"]()
    assert finding.verdict == "slow"
    assert "Python.h" in finding.detail


def test_a_missing_extra_is_absent_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    finding = doctor.CHECKS["nir"]()
    assert finding.verdict == "absent"
    assert re.search(r"^nir: for export --to nir; run: pip install \S*nir", finding.detail)


def test_what_is_cheap_is_checked_before_torch_is_imported():
    code = (
        "import sys; from hiresnn.cli.doctor import CHECKS\n"
        "for name in list(CHECKS)[:-3]: CHECKS[name](); assert 'torch' not in sys.modules, name\n"
        "assert list(CHECKS)[-3:] == ['threads', 'CUDA', 'neuron']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data_are_described_and_every_bad_file_is_listed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "CHECKS", {})
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("L", (8, 8), 3).save(tmp_path / name)
    assert run("doctor", "--data", str(tmp_path)) == 0
    assert "2 classes, 2 training and 1 test images, 8x8 grey; class b has no test image" in capsys.readouterr().out
    for name in ("train/a/2.png", "train/b/2.png"):
        (tmp_path / name).write_bytes(b"text")
    assert run("doctor", "--data", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert "without the files below: 2 classes, 2 training and 1 test images" in printed.out
    assert "a/2.png: this image cannot be read" in printed.out
    assert "b/2.png: this image cannot be read" in printed.out
    assert printed.err == "Broken: data.\n"


def test_a_folder_of_many_sizes_is_read_in_the_size_that_its_message_names(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "CHECKS", {})
    for name, size in (("train/a/1.png", (8, 9)), ("train/b/1.png", (20, 30)), ("test/a/1.png", (8, 9))):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("L", size, 3).save(tmp_path / name)
    assert run("doctor", "--data", str(tmp_path)) == 1
    assert "--set data.size=8 of hiresnn train, or --size 8 of hiresnn audit and doctor" in capsys.readouterr().out
    assert run("doctor", "--data", str(tmp_path), "--size", "8") == 0
    assert "2 training and 1 test images, 8x8 grey" in capsys.readouterr().out
    assert run("doctor", "--data", "digits", "--size", "5") == 0
    assert "355 test images, 5x5 grey" in capsys.readouterr().out
    assert run("doctor", "--size", "5") == 2
    assert "--size is that of the images of --data" in capsys.readouterr().err


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
