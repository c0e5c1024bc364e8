"""The documentation: its index and its links lead to files that exist."""

import re
from pathlib import Path

import pytest

from hiresnn import errors
from hiresnn.app.recipe import Recipe, flatten, override, read
from hiresnn.models import MODELS
from hiresnn.training.methods import METHOD_NAMES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")])


def test_what_the_index_lists_is_there():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[a-z][\w/-]*$", index, flags=re.MULTILINE)
    assert len(listed) == len(set(listed)) > 15
    assert [name for name in listed if not (ROOT / "docs" / f"{name}.md").is_file()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text)
    # An sdist leaves out the figures and tables in results/paper.
    missing = [link for link in links if not (page.parent / link).exists() and "results/paper" not in link]
    assert missing == []


def _row_of_each_key():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+) \| (.+) \| .+ \|$", text, flags=re.MULTILINE)
    return {key: [default, allowed] for key, default, allowed in rows}


def _constraints(schema, names):
    """Yield every number and choice that the JSON schema of a key allows or excludes."""
    if "$ref" in schema:
        schema = names[schema["$ref"].rpartition("/")[2]]
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems"):
        if key in schema and schema[key] != 2**63:
            yield f"{schema[key]:g}"
    yield from (str(choice).lower() if isinstance(choice, bool) else choice for choice in schema.get("enum", []))
    for part in (*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])):
        yield from _constraints(part, names)


def test_the_page_of_recipe_keys_lists_exactly_those_of_the_schema_with_their_values():
    rows, recipe = _row_of_each_key(), read("vgg5-cifar10")
    assert list(rows) == list(flatten(recipe))
    for key, (default, _) in rows.items():
        assert override(recipe, {key: re.findall("`([^`]+)`", default)[-1]}) == recipe, key
        section, _, name = key.rpartition(".")
        fields = type(getattr(recipe, section) if section else recipe).model_fields
        assert ("required" in default) == (fields[name].is_required() or key == "model.name"), key


@pytest.mark.parametrize("key", flatten(read("vgg5-cifar10")))
def test_the_page_of_recipe_keys_states_every_limit_and_every_choice(key):
    schema, allowed = Recipe.model_json_schema(), _row_of_each_key()[key][1]
    section, _, name = key.rpartition(".")
    part = schema["$defs"][section.capitalize()] if section else schema
    choices = {"method": METHOD_NAMES, "model.name": MODELS}.get(key, ())
    stated = [f"{float(number):g}" for number in re.findall(r"\d[\d.e]*", allowed.replace(",", ""))]
    stated += re.findall("`([^`]+)`", allowed)
    assert {*_constraints(part["properties"][name], schema["$defs"]), *choices} - {*stated} == set()


def test_nothing_says_to_install_hiresnn_from_an_index_which_does_not_have_it():
    files = [path for folder in ("docs", "src", "examples", "results") for path in (ROOT / folder).rglob("*")]
    files = [path for path in files if path.suffix in (".md", ".py", ".toml", ".html")]
    texts = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *files]}
    assert len(texts) > 100
    assert [path for path, text in texts.items() if re.search(r"pip install [^`\n&]*(?<![/-])\bhiresnn\b", text)] == []
    assert [path for path, text in texts.items() if re.search(r"(?<!\w)hiresnn\[\w", text)] == []


def test_a_message_about_an_extra_installs_its_packages_not_hiresnn_again(monkeypatch):
    requirements = ["torch>=2.6", "nir<2,>=1.0.6; extra == 'nir'", "nirtorch>=2.6 ; extra == 'peers'"]
    monkeypatch.setattr(errors, "requires", lambda name: requirements)
    assert errors.install_command("nir") == "pip install 'nir<2,>=1.0.6'"
    monkeypatch.setattr(errors, "requires", lambda name: None)
    assert errors.install_command("nir") == "pip install '.[nir]'"
