"""The documentation site: `make docs` builds it with Sphinx, and executes the cells of the tutorials."""

import dataclasses
import hashlib
import inspect
import pydoc
import re
import sys
import zlib
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

import hiresnn

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = re.findall(r'(?m)^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text())[0]

project = "hiresnn"
author = "The hiresnn authors"
copyright = "The hiresnn authors"
version = release = hiresnn.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "tutorials/out"]

html_theme = "furo"
html_title = f"hiresnn {version}"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3  # links such as audit.md#random-networks

# A page with a failing cell is still built, with the traceback in it, and so are all others; docs/build.py reports it.
# The results of cells are kept until their page or the code that they run changes.
files = [path for folder in ("src", "reproduction") for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files) if path.is_file())).hexdigest()[:12]
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / f"build/docs-cache/{digest}")
nb_execution_raise_on_error = False
nb_execution_show_tb = True
nb_execution_timeout = 600  # seconds for each cell, on a busy machine
nb_execution_in_temp = True
nb_merge_streams = True
suppress_warnings = ["myst-nb.lexer"]  # of cells that are not executed: make docs-fast

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
maximum_signature_line_length = 100
python_display_short_literal_types = True
viewcode_line_numbers = True

# Links into other documentation, from a list in the repository: a build needs no connection. A name is followed by the
# module in which Python finds it, if that is another one.
OTHERS = {
    "https://docs.pytorch.org/docs/stable/": {
        "tensors.html": ["torch.Tensor"],
        "tensor_attributes.html": ["torch.device"],
        "data.html": ["torch.utils.data.Dataset torch.utils.data.dataset"],
        "optim.html": ["torch.optim.Optimizer torch.optim.optimizer"],
        "fx.html": ["torch.fx.GraphModule torch.fx.graph_module"],
        "generated/torch.Generator.html": ["torch.Generator torch._C"],
        "generated/torch.nn.Module.html": ["torch.nn.Module torch.nn.modules.module"],
    },
    "https://docs.python.org/3/": {
        "library/collections.abc.html": [
            f"collections.abc.{name}"
            for name in ("Callable", "Iterable", "Iterator", "Mapping", "MutableMapping", "Sequence")
        ],
        "library/contextlib.html": ["contextlib.AbstractContextManager"],
        "library/functions.html": ["bool", "float", "int", "object"],
        "library/pathlib.html": ["pathlib.Path"],
        "library/stdtypes.html": ["dict", "list", "str", "tuple"],
        "library/typing.html": ["typing.Any"],
    },
}
intersphinx_mapping = {}
for number, (address, pages) in enumerate(OTHERS.items()):
    inventory = ROOT / f"build/links{number}.inv"
    inventory.parent.mkdir(exist_ok=True)
    rows = []
    for page, targets in pages.items():
        for target in targets:
            name, _, module = target.partition(" ")
            names = {name, f"{module}.{name.rpartition('.')[2]}"} if module else {name}
            rows += [f"{title} py:class 1 {page}#{name} -\n" for title in sorted(names)]
    header = "# Sphinx inventory version 2\n# Project: links\n# Version:\n# The remainder is compressed using zlib.\n"
    inventory.write_bytes(header.encode() + zlib.compress("".join(rows).encode()))
    intersphinx_mapping[f"links{number}"] = (address, str(inventory))

DATASET, BATCHES = "~torch.utils.data.dataset.Dataset[~typing.Any]", "~collections.abc.Iterable[~typing.Any]"
DATA = f"~hiresnn.data.dataset.Split | {DATASET} | {BATCHES}"
MODEL = "~collections.abc.Callable[[~torch.Tensor], ~torch.Tensor]"
ATTACK = f"~collections.abc.Callable[[{MODEL}, ~torch.Tensor, ~torch.Tensor], ~torch.Tensor]"
ALIASES = {
    DATA: "~hiresnn.data.dataset.LabelledImages",
    ATTACK: "~hiresnn.attacks.Attack",
    f"model: {MODEL}": "model: ~hiresnn.attacks.Model",
    f"twin: {MODEL}": "twin: ~hiresnn.attacks.Model",
    f"[str, {MODEL}]": "[str, ~hiresnn.attacks.Model]",
}
"""Types that autodoc writes out -> the names that they have in the source."""
for documented in re.findall(r"(?m)^\.\. auto\w+:: (\S+)$", (ROOT / "docs/api.md").read_text(encoding="utf-8")):
    item = pydoc.locate(documented)
    if inspect.isclass(item):
        ALIASES[f"~{item.__module__}.{item.__qualname__}"] = f"~{documented}"


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


def _show_values(
    app: object, what: str, name: str, item: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show defaults as values, not as names of constants, and types by their public names."""
    constants = vars(sys.modules[getattr(inspect.unwrap(item), "__module__", "builtins")])  # type: ignore[arg-type]
    for constant in re.findall(r"= ?([A-Z_]{2,})\b", signature or ""):
        if isinstance(constants[constant], int | float | str):
            signature = re.sub(rf"= ?{constant}\b", f"= {constants[constant]!r}", signature or "")
    if dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            if field.default_factory is not dataclasses.MISSING:
                made = {"dict": "{}", "list": "[]"}.get(
                    field.default_factory.__name__, f"{field.default_factory.__name__}()"
                )
                signature = (signature or "").replace("<factory>", made, 1)
        signature = re.sub(r"<function (\w+)>", r"\1", signature or "")
    return _short(signature), _short(returns)


def _short(types: str | None) -> str | None:
    for written_out, alias in ALIASES.items():
        types = types and re.sub(re.escape(written_out) + r"(?!\w)", alias, types)
    return types and types.replace("[Tensor,", "[~torch.Tensor,")


def _describe_constants(app: object, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Describe a constant by the text below it in the module that defines it, not by the docstring of its type."""
    package, _, constant = name.rpartition(".")
    for module in [module for module in sys.modules if what == "data" and f"{module}.".startswith(f"{package}.")]:
        if text := ModuleAnalyzer.for_module(module).find_attr_docs().get(("", constant)):
            lines[:] = text


def setup(app: object) -> None:
    """Called by Sphinx."""
    trainer = ModuleAnalyzer.for_module("hiresnn.training.trainer")
    trainer.analyze()
    trainer.overloads.clear()  # each is the signature of `fit` again
    app.connect("autodoc-process-signature", _show_values)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _describe_constants)  # type: ignore[attr-defined]
    app.connect("source-read", _link_to_repository)  # type: ignore[attr-defined]
    app.connect("source-read", _complete_index)  # type: ignore[attr-defined]
