"""Code and commands in the documentation name what exists. Only `make docs` executes them."""

import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from hiresnn.cli.shell import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")])
BLOCK = re.compile(r"^```(\{code-cell\}|\w*)[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
PROMPT = re.compile(r"^(?:    )?(?:\$ |!|torchrun .*-m )?(?:[A-Z]+=\S+ )?hiresnn (.*)$", flags=re.MULTILINE)


def python_in(text):
    for language, code in BLOCK.findall(text):
        if language in ("python", "{code-cell}"):
            yield re.sub(r"(?m)^(:tags:.*|[!%].*)$", "", code)


def commands_in(text):
    blocks = [code for language, code in BLOCK.findall(text) if language in ("", "bash", "{code-cell}")]
    indented = re.findall(r"(?m)^    hiresnn .*$", BLOCK.sub("", text))
    for code in (*blocks, *indented):
        for found in PROMPT.findall(code.replace("\\\n", " ")):
            words = shlex.split(found, comments=True)
            end = next((place for place, word in enumerate(words) if re.match(r"\d?>|\||&", word)), len(words))
            yield words[:end]


def problem(words):
    """Return what is wrong with a command or its options; None if nothing is."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    words = command.completed(words) if hasattr(command, "completed") else words
    context = command.make_context("hiresnn", [], resilient_parsing=True)
    try:
        command.make_parser(type(context)(command)).parse_args(list(words))
    except Exception as error:
        if not hasattr(error, "format_message"):  # click, or the copy of it in newer versions of typer
            raise
        return str(error.format_message())
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_have_the_options_that_the_documentation_names(page):
    found = {shlex.join(words): problem(words) for words in commands_in(page.read_text(encoding="utf-8"))}
    assert {command: reason for command, reason in found.items() if reason} == {}


def resolved(node):
    """Return the object that hiresnn.a.b names; None for any other expression, or if there is no such object."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not (isinstance(node, ast.Name) and node.id == "hiresnn"):
        return None
    found: Any = importlib.import_module("hiresnn")
    for name in reversed(names):
        found = getattr(found, name, None)
    return found


def unknown_names(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hiresnn":
            module = importlib.import_module(str(node.module))
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name))
        elif isinstance(node, ast.Attribute):
            if re.fullmatch(r"hiresnn(\.\w+)+", ast.unparse(node)) and resolved(node) is None:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and callable(function := resolved(node.func)):
            parameters = inspect.signature(function).parameters.values()
            if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
                known = {each.name for each in parameters}
                given = {keyword.arg for keyword in node.keywords if keyword.arg}
                yield from (f"{ast.unparse(node.func)} has no argument {name}" for name in given - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_uses_names_and_arguments_that_exist(page):
    assert [name for code in python_in(page.read_text(encoding="utf-8")) for name in unknown_names(code)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "tutorials").glob("*.md")), ids=lambda page: page.name)
def test_a_tutorial_has_the_header_that_makes_its_cells_run(page):
    assert page.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n")
