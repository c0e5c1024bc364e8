"""Compiled kernels are kept where they can be written, and elsewhere torch keeps its own place."""

import os
from pathlib import Path

import pytest

from hiresnn.process import keep_kernels


def test_a_folder_of_another_user_is_left_to_that_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    # Told rather than made: root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path / "kernels" and mode & os.W_OK))
    keep_kernels()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_kernels_are_kept_in_the_cache_unless_another_place_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that what keep_kernels sets is undone after the test
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_kernels()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels")
    assert (tmp_path / "kernels").is_dir()
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "other"))
    keep_kernels()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels")


def test_without_a_place_for_kernels_torch_keeps_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    keep_kernels()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
