"""Release a version: `make release VERSION=0.3.0`. Sets the version, commits, builds and checks the package, and tags.

Nothing is pushed. It needs a clean working tree and a section of CHANGELOG.md headed `## Unreleased (0.3.0)`, which
becomes `## 0.3.0 (DATE)`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CITATION, CHANGELOG, PROJECT = "src/hiresnn/version.py", "CITATION.cff", "CHANGELOG.md", "pyproject.toml"


class ReleaseError(Exception):
    """Why no release was made, and what to do."""


def release(version: str, root: Path = ROOT, *, build: tuple[str, ...] = ("make", "package")) -> str:
    """Make the release; returns what was done and what to do next.

    Args:
        version: such as 0.3.0 or 0.3.0rc1.
        root: the checkout.
        build: the command that builds and checks the package; if it fails, nothing is tagged.

    Raises:
        ReleaseError: a condition is not met; nothing has changed then, unless the message names a commit.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise ReleaseError(f"VERSION is {version!r}; give a version such as 0.3.0 or 0.3.0rc1.")
    if changed := _git(root, "status", "--porcelain"):
        first = changed.splitlines()[0].strip()
        raise ReleaseError(f"the working tree is not clean ({first}); commit or remove changes.")
    if _git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"the tag v{version} exists; choose another version.")
    _check_address(root)
    today = datetime.now(timezone.utc).date().isoformat()
    texts = {
        CHANGELOG: _dated((root / CHANGELOG).read_text(encoding="utf-8"), version, today),
        PACKAGE: _replaced(root / PACKAGE, r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"'),
        CITATION: _replaced(root / CITATION, r"(?m)^version: .*(\ndate-released: .*)?$",
                            f"version: {version}\ndate-released: {today}"),
    }  # fmt: skip
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    if _git(root, "status", "--porcelain"):
        _git(root, "commit", "--quiet", "--all", "--message", f"Version {version}")
    if subprocess.run(build, cwd=root, check=False).returncode:
        raise ReleaseError(
            f"{' '.join(build)} failed, so version {version} is committed but not tagged; undo the commit with "
            "git reset --hard HEAD~1, or correct the cause and run it again."
        )
    _git(root, "tag", "--annotate", f"v{version}", "--message", f"Version {version}")
    return f"Tagged v{version}; dist/ has the package. Next: git push --follow-tags, then upload dist/* to the index."


def _dated(text: str, version: str, today: str) -> str:
    """Return the changelog with today's date in the heading of this version, which must have content."""
    found = re.search(rf"(?m)^## (Unreleased \({re.escape(version)}\)|{re.escape(version)}( \(.*\))?)$", text)
    if found is None:
        raise ReleaseError(f"{CHANGELOG} has no section of this version; head one with ## Unreleased ({version}).")
    following = text.find("\n## ", found.end())
    if not text[found.end() : following if following >= 0 else None].strip():
        raise ReleaseError(f"the section {found.group(1)} of {CHANGELOG} is empty; write what users notice.")
    return f"{text[: found.start()]}## {version} ({today}){text[found.end() :]}"


def _replaced(path: Path, pattern: str, line: str) -> str:
    text, count = re.subn(pattern, line, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ReleaseError(f"{path} has {count} lines like {line!r}; it must have one.")
    return text


def _check_address(root: Path) -> None:
    """Refuse to release with links into another repository than the one of the remote `origin`."""
    origin = _git(root, "config", "--default", "", "--get", "remote.origin.url")
    ours = re.search(r'(?m)^Repository = "(.*)"$', (root / PROJECT).read_text(encoding="utf-8"))
    address = re.sub(r"^(git@|ssh://git@)([^:/]+)[:/]", r"https://\2/", origin).removesuffix(".git")
    if origin and (ours is None or ours.group(1) != address):
        raise ReleaseError(
            f"{PROJECT}: the repository is {ours.group(1) if ours else 'missing'}, but the remote origin is {address}; "
            "correct the addresses there."
        )


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.rstrip()


if __name__ == "__main__":
    try:
        print(release(sys.argv[1] if len(sys.argv) == 2 else ""))
    except ReleaseError as error:
        sys.exit(f"Error: {error}")
