"""Build the documentation site: `python docs/build.py [--fast] [SOURCE OUT]`; the last line says what failed.

A failing cell or any other warning does not stop the build: the site has all pages, and the exit code is 1. The results
of cells are kept in build/docs-cache, so only pages that changed, or all after a change of the package, are executed
again.
`--fast` executes nothing: cells are shown without results.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAILED_CELL = re.compile(r"(?m)^(\S+?\.md)(?:\S*): WARNING: Executing notebook failed: (.*?)(?: \[mystnb.exec\])?$")
WARNING = re.compile(r"(?m)^(.*?): (?:WARNING|ERROR|CRITICAL): (.*)$")


def main(arguments: list[str]) -> int:
    """Build the site and print how it went; returns the exit code."""
    fast = "--fast" in arguments
    paths = [Path(text) for text in arguments if text != "--fast"]
    source, out = paths or (ROOT / "docs", ROOT / "build/docs")
    start, log = time.monotonic(), out.with_name(f"{out.name}.log")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Two processes, as cells take most of the time. Every page is read again (-E): its failures are part of the result.
    command = [sys.executable, "-m", "sphinx", "-E", "-q", "-j", "2", "-w", str(log)]
    command += ["-D", "nb_execution_mode=off"] if fast else []
    code = subprocess.run([*command, str(source), str(out)]).returncode
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8"))
    problems = [f"{Path(page).name}: {problem}" for page, problem in FAILED_CELL.findall(text)]
    problems = problems or [f"{place}: {problem}" for place, problem in WARNING.findall(text)]
    seconds = time.monotonic() - start
    if code or problems or text.strip():
        reason = "; ".join(problems[:3]) or f"sphinx ended with exit code {code}"
        print(f"Failed after {seconds:.0f} s: {reason}. All messages: {log}; the other pages are in {out}.")
        return 1
    pages = len([*out.rglob("*.html")])
    print(f"Built {pages} pages in {seconds:.0f} s{', without executing cells' if fast else ''}: {out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
