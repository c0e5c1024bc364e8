"""Memory, kernels, cache folder and torchrun: what a process asks of its machine."""

import os
import platform
import subprocess
import sys

import pytest

from hiresnn.errors import UsageError
from hiresnn.process import cache_folder, keep_kernels, leads, processes

# Touches and frees a block far above glibc's limit for returning it, over and over.
FAULTS = """
import ctypes, resource, sys
from hiresnn.process import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
libc, size = ctypes.CDLL("libc.so.6"), 64 << 20
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_freed_block_is_reused_instead_of_mapped_again():
    def faults(mode):
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < 100
    assert faults("leave") >= 5 * 10  # even with huge pages, 32 faults a block


def test_kernels_are_stored_in_the_cache_unless_another_folder_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that what keep_kernels sets is undone after the test
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_kernels()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels")
    assert (tmp_path / "kernels").is_dir()
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "other"))
    keep_kernels()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels")


@pytest.mark.parametrize(
    ("environment", "several", "leading"),
    [
        ({}, 1, True),
        ({"RANK": "1"}, 1, True),  # left behind by another program
        ({"WORLD_SIZE": "", "RANK": "1"}, 1, True),
        ({"WORLD_SIZE": "2", "RANK": "0"}, 2, True),
        ({"WORLD_SIZE": "2", "RANK": "1"}, 2, False),
    ],
)
def test_a_process_is_one_of_several_where_the_world_is_larger_than_one(monkeypatch, environment, several, leading):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (processes(), leads()) == (several, leading)


def test_one_variable_moves_the_whole_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder("data") == tmp_path / "data"
    monkeypatch.setenv("HIRESNN_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("kernels") == tmp_path / ".cache" / "hiresnn" / "kernels"
    monkeypatch.setenv("HIRESNN_CACHE", "~nobody-here")
    with pytest.raises(UsageError, match="set HIRESNN_CACHE"):
        cache_folder()
