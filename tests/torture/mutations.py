"""`python -m tests.torture.mutations` plants bugs in a copy of the source; a campaign must find each of them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Bug(NamedTuple):
    """A planted bug: `old` in a file of the package becomes `new`, and a campaign must fail within some minutes."""

    what: str
    file: str
    old: str
    new: str
    campaign: str
    minutes: float = 1.0


BUGS = (
    Bug("a row of NaN counts as class 0", "checks.py", " & logits.isfinite().all(1)", "", "answers", 0.2),
    Bug("weights of NaN are read", "app/networks.py", "if not tensor.isfinite().all():", "if False:", "answers", 0.2),
    Bug(
        "the identity of an audit forgets the network", "audit/run.py", "(FORMAT, network.weights, network.digest,",
        "(FORMAT,", "answers",
    ),
    Bug(
        "the identity of an audit forgets gradients", "audit/behaviour.py", "[(rule, pair[0])] if torch.equal(*pair)",
        "[] if pair", "answers", 3.0,
    ),
    Bug(
        "--resume ignores the stored state", "training/trainer.py", "training.load_state_dict(state)", "pass", "kill",
        2.0,
    ),
    Bug(
        "a resumed training forgets the noise", "training/loop.py", "self.method.noise.load_state_dict(", "dict(",
        "kill", 3.0,
    ),
    Bug("files are written in place", "files.py", "os.replace(temporary, path)", "path.write_bytes(b'')", "disk"),
)  # fmt: skip


def main() -> int:
    """Plant every bug, or those whose number is named; the exit code is the number of bugs that were not found."""
    chosen = [BUGS[int(number)] for number in sys.argv[1:]] or BUGS
    missed = [bug for bug in chosen if not found(bug)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} planted bugs were found")
    return len(missed)


def found(bug: Bug) -> bool:
    """Whether the campaign fails on a copy of the source with the bug."""
    with tempfile.TemporaryDirectory(prefix="hiresnn-mutation-") as name:
        copy = Path(name)
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "src" / "hiresnn" / bug.file
        path.write_text(path.read_text().replace(bug.old, bug.new))
        variables = {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{ROOT}", "TORTURE_MINUTES": str(bug.minutes)}
        line = [sys.executable, "-m", "tests.torture", bug.campaign]
        ended = subprocess.run(line, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    print(f"{'found ' if ended.returncode == 1 else 'MISSED'} {bug.campaign}: {bug.what}", flush=True)
    return ended.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
