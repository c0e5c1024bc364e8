"""Bar pairs: lengths by hand, a pattern beside the colour."""

from xml.etree import ElementTree

from hiresnn.report.bars import Pair, bar_pairs


def drawn(pairs: list[Pair]) -> ElementTree.Element:
    return ElementTree.fromstring(str(bar_pairs(pairs, key="k", title="t", description="d", label="rate")))


def test_lengths_are_in_proportion_from_zero() -> None:
    svg = drawn([Pair("relu1", 0.25, 0.5), Pair("relu2", 1.0, 0.0)])
    # The scale is 0 to 1 over the 342 units from 4 to 346.
    widths = [bar.get("width") for bar in svg.iter("rect") if (bar.get("class") or "").startswith("bar")]
    assert widths == ["85.5", "171", "342", "0"]


def test_values_and_names_are_written() -> None:
    texts = [text.text for text in drawn([Pair("relu1", 0.25, 0.5)]).iter("text")]
    assert [text for text in texts if text in ("relu1", "0.250", "0.500")] == ["relu1", "0.250", "0.500"]


def test_attacked_bars_are_hatched_by_the_pattern_that_the_drawing_holds() -> None:
    svg = drawn([Pair("relu1", 0.25, 0.5)])
    fills = {bar.get("class"): bar.get("fill") for bar in svg.iter("rect") if bar.get("class")}
    assert fills == {"bar clean": None, "bar attacked": "url(#k-hatch)"}
    assert svg.find(".//pattern").get("id") == "k-hatch"


def test_a_silent_network_has_bars_of_no_length() -> None:
    widths = [bar.get("width") for bar in drawn([Pair("relu1", 0.0, 0.0)]).iter("rect") if bar.get("class")]
    assert widths == ["0", "0"]
