"""`hiresnn doctor` tells what is broken, what is only slow, and what either costs."""

from pathlib import Path

import pytest

from hiresnn.cli import doctor, main
from hiresnn.cli.doctor import Finding


def run(monkeypatch: pytest.MonkeyPatch, **findings: Finding | Exception) -> int:
    def check(finding: Finding | Exception) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    monkeypatch.setattr(doctor, "CHECKS", {name: lambda f=f: check(f) for name, f in findings.items()})
    with pytest.raises(SystemExit) as caught:
        main(["doctor"])
    return int(caught.value.code or 0)


def test_a_slow_machine_is_a_sound_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, CUDA=Finding("slow", "no [GPU] here"), cache=Finding("ok", "there")) == 0
    assert "no [GPU] here" in capsys.readouterr().out


def test_something_broken_is_named_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, torch=ImportError("no torch"), cache=Finding("ok", "there")) == 1
    shown = capsys.readouterr()
    assert "ImportError: no torch" in shown.out
    assert shown.err == "Broken: torch.\n"


def test_the_neuron_check_passes_here_and_finds_a_neuron_that_never_spikes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert doctor.check_neuron().verdict == "ok"
    monkeypatch.setattr("hiresnn.convert", lambda *_, **__: Silent())
    found = doctor.check_neuron()
    assert found == Finding("broken", "a neuron that must spike 2 times in 4 steps gave 0")


class Silent:
    """A network without spikes."""

    neurons: dict[str, object] = {}  # noqa: RUF012

    def __call__(self, _: object) -> float:
        return 0.0


def test_a_missing_compiler_is_slow_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    found = doctor.check_compile()
    assert found.verdict == "slow"
    assert "install g++" in found.detail


def test_a_cache_that_does_not_exist_yet_is_sound_and_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "new" / "cache"))
    assert doctor.check_cache() == Finding("ok", str(tmp_path / "new" / "cache"))
    assert not (tmp_path / "new").exists()


def test_a_cache_below_a_file_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "file" / "cache"))
    assert doctor.check_cache().verdict == "broken"


def test_cheap_checks_find_this_machine_sound() -> None:
    for check in (doctor.check_python, doctor.check_torch, doctor.check_threads):
        assert check().verdict == "ok"
    assert doctor.check_bfloat16().verdict in ("ok", "slow")
    assert doctor.check_cuda().verdict in ("ok", "slow")
