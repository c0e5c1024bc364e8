"""Commands in forked children: importing hiresnn and torch anew would take longer than what most tests run."""

import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

SECONDS = 600
"""After which a child ends itself."""


class Forked:
    """A child of this process that runs `action`, with its standard output and standard error in files.

    A SystemExit of the action becomes the exit code, as in a process of its own.
    """

    def __init__(self, action: Callable[[], object], environment: Mapping[str, str] | None = None) -> None:
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self.returncode: int | None = None
        self.process = os.fork()
        if not self.process:
            self._run(action, environment or {})

    def _run(self, action: Callable[[], object], environment: Mapping[str, str]) -> None:
        code = 1
        try:
            signal.alarm(SECONDS)
            os.environ |= environment
            for number, file in enumerate(self.files, start=1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
            action()
            code = 0
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            else:
                code = ended.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the child runs."""
        return self._ended(os.WNOHANG)

    def wait(self) -> tuple[int, str, str]:
        """Wait for the end; exit code, standard output and standard error."""
        code = self._ended(0)
        assert code is not None
        texts = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read().decode())
            file.close()
        return code, texts[0], texts[1]

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.process, signal.SIGKILL)

    def _ended(self, options: int) -> int | None:
        if self.returncode is None:
            process, status = os.waitpid(self.process, options)
            self.returncode = os.waitstatus_to_exitcode(status) if process else None
        return self.returncode


def hiresnn(*arguments: str) -> Callable[[], object]:
    """The command line `hiresnn ARGUMENTS`, as an action."""

    def action() -> None:
        from hiresnn.cli import main

        main(list(arguments))

    return action


def several(size: int, action: Callable[[], object]) -> list[tuple[int, str, str]]:
    """Run `action` in several processes, as torchrun starts them; exit code, output and errors of each rank."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    ranks = [Forked(action, {**shared, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}) for rank in range(size)]
    return [rank.wait() for rank in ranks]
