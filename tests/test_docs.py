"""The documentation: its index and its links lead to files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")])


def test_what_the_index_lists_is_there() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[a-z][\w/-]*$", index, flags=re.MULTILINE)
    assert len(listed) == len(set(listed)) > 15
    assert [name for name in listed if not (ROOT / "docs" / f"{name}.md").is_file()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text)
    # An sdist leaves out the figures and tables in results/paper.
    missing = [link for link in links if not (page.parent / link).exists() and "results/paper" not in link]
    assert missing == []
