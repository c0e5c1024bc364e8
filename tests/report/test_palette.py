"""Contrast, computed from the style sheet as it stands in a page."""

import re
from collections.abc import Callable

import pytest

from hiresnn.audit.card import Card
from hiresnn.report.page import audit_page
from hiresnn.report.palette import DARK, LIGHT
from hiresnn.report.palette import contrast as own_contrast

BACKGROUNDS = ("page", "surface", "sunken")


@pytest.fixture(scope="module")
def schemes(card: Card) -> dict[str, dict[str, str]]:
    style = audit_page(card).partition("<style>")[2].partition("</style>")[0]
    light = re.search(r":root \{ color-scheme: light dark;([^}]*)\}", style)
    dark = re.search(r"@media screen and \(prefers-color-scheme: dark\) \{ :root \{([^}]*)\}", style)
    assert light
    assert dark
    return {
        name: dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", found.group(1)))
        for name, found in (("light", light), ("dark", dark))
    }


def test_both_schemes_name_the_same_colours(schemes: dict[str, dict[str, str]]) -> None:
    assert schemes == {"light": LIGHT, "dark": DARK}
    assert list(LIGHT) == list(DARK)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_reaches_four_and_a_half(
    scheme: str, schemes: dict[str, dict[str, str]], contrast: Callable[[str, str], float]
) -> None:
    colours = schemes[scheme]
    pairs = [(text, back) for text in ("ink", "muted", "accent") for back in BACKGROUNDS]
    pairs += [(verdict, f"{verdict}-back") for verdict in ("good", "unsure", "bad")]
    assert {pair: found for pair in pairs if (found := contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_reach_three(
    scheme: str, schemes: dict[str, dict[str, str]], contrast: Callable[[str, str], float]
) -> None:
    colours = schemes[scheme]
    found = {name: contrast(colours[name], colours["surface"]) for name in colours if name.startswith("series")}
    assert len(found) == 6
    assert min(found.values()) >= 3


def test_the_packages_contrast_is_that_of_the_standard(contrast: Callable[[str, str], float]) -> None:
    for one, other in (("#0072b2", "#ffffff"), ("#123456", "#fedcba"), ("#0a0a0a", "#0b0b0b")):
        assert own_contrast(one, other) == pytest.approx(contrast(one, other), rel=1e-12)
