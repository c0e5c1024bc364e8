"""The documentation site: `make docs` builds it with Sphinx, and executes the cells of the tutorials."""

import re
from pathlib import Path

import hiresnn

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = re.findall(r'(?m)^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text())[0]

project = "hiresnn"
author = "The hiresnn authors"
copyright = "The hiresnn authors"
version = release = hiresnn.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "tutorials/out"]

html_theme = "furo"
html_title = f"hiresnn {version}"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3  # links such as audit.md#validation

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds for each cell, on a busy machine
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the signature shows them as they are written, with shapes


def _link_to_repository(app: object, name: str, source: list[str]) -> None:
    """Let links to files outside docs/ point into the repository; pictures are copied."""
    link = r"(?<!!)(\[[^\]]*\])\(\.\./(?!tutorials)([^)]+)\)"
    source[0] = re.sub(link, rf"\1({REPOSITORY}/blob/main/\2)", source[0])


def _complete_index(app: object, name: str, source: list[str]) -> None:
    """Add the pages that the index does not list to its how-to pages, so that no page is left out of the site."""
    if name == "index":
        listed = re.findall(r"(?m)^[a-z][\w/-]*$", source[0])
        pages = sorted(path.stem for path in Path(__file__).parent.glob("*.md"))
        others = [page for page in pages if page not in (*listed, "index")]
        source[0] = source[0].replace("share\n", "\n".join(["share", *others, ""]), 1)


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_to_repository)  # type: ignore[attr-defined]
    app.connect("source-read", _complete_index)  # type: ignore[attr-defined]
