"""`make docs`: types, values and links on the page of the interface, and a page whose cell fails."""

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("myst_nb"), reason="needs hiresnn[docs]"),
]


def _built(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, str(ROOT / "docs/build.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "docs"
    result = _built("--fast", ROOT / "docs", out)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.fullmatch(
        r"Built \d+ pages in \d+ s, without executing cells: .*index.html", result.stdout.splitlines()[-1]
    )
    return (out / "api.html").read_text(encoding="utf-8")


def test_every_function_shows_what_it_returns_its_source_and_its_defaults_as_values(page):
    functions = re.findall(r'<dl class="py function">\s*<dt.*?</dt>', page, flags=re.DOTALL)
    assert len(functions) > 50
    for function in functions:
        name = re.findall(r'id="([^"]+)"', function)[0]
        assert 'class="sig-return"' in function, name
        assert "viewcode-link" in function or name == "hiresnn.attacks.parse", name  # a class method
        text = html.unescape(re.sub("<[^>]+>", "", function))
        assert not re.search(r"<(factory|function)|= [A-Z_]{3,}(?!\w)", text.replace("= ALONE", "")), text


def test_types_link_to_this_page_to_torch_and_to_python(page):
    signature = page[page.index('id="hiresnn.fit"') : page.index("Train a network in place")]
    assert "https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module" in signature
    assert "https://docs.pytorch.org/docs/stable/optim.html#torch.optim.Optimizer" in signature
    assert 'href="#hiresnn.data.dataset.LabelledImages"' in signature
    assert "https://docs.python.org/3/library/functions.html#int" in signature
    assert 'class="sig-name' in signature
    assert "traditional" in signature


def test_a_failing_cell_costs_no_other_page_and_the_last_line_names_it(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text(
        'extensions = ["myst_nb"]\nnb_execution_mode = "cache"\nnb_execution_cache_path = "../cache"\n'
    )
    (source / "index.md").write_text("# Index\n\n```{toctree}\nbad\ngood\n```\n")
    header = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
    (source / "bad.md").write_text(f"{header}\n# Bad\n\n```{{code-cell}}\n1 / 0\n```\n")
    (source / "good.md").write_text(f"{header}\n# Good\n\n```{{code-cell}}\nprint(6 * 7)\n```\n")
    result = _built(source, tmp_path / "out")
    assert result.returncode == 1
    assert re.match(r"Failed after \d+ s: bad.md: .*All messages: ", result.stdout.splitlines()[-1])
    assert ">42\n" in (tmp_path / "out/good.html").read_text(encoding="utf-8")
