"""Commands in child processes that have imported hiresnn: to import it anew takes longer than what most tests run.

The children are forked by a server, not by the process of the tests: after a backward pass, torch refuses autograd in a
forked child wherever it finds a GPU.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

SECONDS = 600
"""After which a child ends itself."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["hiresnn.cli.shell", "hiresnn.cli.train", "hiresnn.app.train", "torch.distributed"])


class Forked:
    """A child that runs `action`, which can be pickled, with its standard output and standard error in files.

    A SystemExit of the action becomes the exit code, as in a process of its own.
    """

    def __init__(self, action: Callable[[], object], environment: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.files = [self.folder / name for name in ("output", "errors")]
        self.process = SERVER.Process(target=_run, args=(action, {**os.environ, **(environment or {})}, *self.files))
        self.process.start()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the child runs."""
        return self.process.exitcode

    def wait(self) -> tuple[int, str, str]:
        """Wait for the end; exit code, standard output and standard error."""
        self.process.join()
        output, errors = (file.read_bytes().decode() if file.exists() else "" for file in self.files)
        shutil.rmtree(self.folder)
        return self.process.exitcode, output, errors

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()


def hiresnn(*arguments: str) -> Callable[[], object]:
    """The command line `hiresnn ARGUMENTS`, as an action."""
    return partial(_main, list(arguments))


def several(size: int, action: Callable[[], object]) -> list[tuple[int, str, str]]:
    """Run `action` in several processes, as torchrun starts them; exit code, output and errors of each rank."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    ranks = [Forked(action, {**shared, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}) for rank in range(size)]
    return [rank.wait() for rank in ranks]


def _main(arguments: list[str]) -> None:
    from hiresnn.cli import main

    main(arguments)


def _run(action: Callable[[], object], environment: Mapping[str, str], output: Path, errors: Path) -> None:
    import torch

    signal.alarm(SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate((output, errors), start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
    try:
        action()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
