"""Run a command in several processes, as torchrun starts them: python several.py SIZE FOLDER COMMAND...

Importing hiresnn and torch takes longer than a small training, so it is done once, and every rank is a fork. COMMAND is
a script or the name of a module, with arguments. Rank r writes its standard error into FOLDER/r.err; the exit codes of
all ranks are in FOLDER/codes.json.
"""

import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path

for name in ("hiresnn.cli", "hiresnn.runs.train", "hiresnn.training"):
    importlib.import_module(name)


def run_rank(rank: int, folder: Path, command: list[str]) -> None:
    """Become one rank and run the command."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.dup2(os.open(folder / f"{rank}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = command
    if command[0].endswith(".py"):
        runpy.run_path(command[0], run_name="__main__")
    else:
        runpy.run_module(command[0], run_name="__main__")


def main() -> int:
    """Fork the ranks and wait for them; return 1 if any of them failed."""
    size, folder, command = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = []
    for rank in range(size):
        process = os.fork()
        if not process:
            run_rank(rank, folder, command)
            return 0
        started.append(process)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
    (folder / "codes.json").write_text(json.dumps(codes))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
