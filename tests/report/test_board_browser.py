"""The board in a real browser: it sorts, fits and can be read. Skipped without Chromium."""

import pytest

from hiresnn.report.pages import board_page

from .test_board import entry
from .test_browser import CONTRASTS

FIRST_COLUMN = "[...document.querySelectorAll('.sortable tbody th')].map(head => head.childNodes[0].data)"


@pytest.fixture(scope="module")
def address(card, tmp_path_factory):
    path = tmp_path_factory.mktemp("board") / "board.html"
    ann = card.subject.model_copy(update={"timesteps": None})
    entries = [
        entry(card, "middle", 15.5, price=270.0), entry(card, "best", 44.0, price=150.0, subject=ann),
        entry(card, "a-network-with-a-name-that-no-phone-can-show-in-one-line", 10.0),
        entry(card, "refused", 99.0, problem="the network's weights are not those that the card names"),
    ]  # fmt: skip
    path.write_text(board_page(entries), encoding="utf-8")
    return path.as_uri()


def test_a_click_or_a_key_on_a_heading_sorts_the_table(opened, address):
    page = opened()
    long = "a-network-with-a-name-that-no-phone-can-show-in-one-line"
    assert page.evaluate(FIRST_COLUMN) == ["best", "middle", long]
    page.click("text=price")  # the highest first; without a price last
    assert page.evaluate(FIRST_COLUMN) == ["middle", "best", long]
    page.click("text=price")
    assert page.evaluate(FIRST_COLUMN) == ["best", "middle", long]
    page.focus(".sortable th button")
    page.keyboard.press("Enter")  # names from a to z
    assert page.evaluate(FIRST_COLUMN) == [long, "best", "middle"]
    marked = (
        "[...document.querySelectorAll('.sortable [aria-sort]')].map(e => [e.innerText, e.getAttribute('aria-sort')])"
    )
    assert page.evaluate(marked) == [["network", "ascending"]]
    assert [heard for heard in page.heard if heard not in (address, "data:,")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_board_fits_and_every_text_can_be_read(width, scheme, opened):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = page.evaluate(CONTRASTS)
    assert len(found) > 80
    assert [each for each in found if each[0] < 4.5 or each[1:3] != [1, 1]] == []
    scales = "[...document.querySelectorAll('svg.chart')].filter(each => each.getClientRects().length)"
    scales += ".map(each => each.getBoundingClientRect().width / each.viewBox.baseVal.width)"
    assert all(0.55 < scale < 1.45 for scale in page.evaluate(scales))


def test_a_phone_shows_the_worst_case_beside_the_name(opened):
    right = opened(390).evaluate("document.querySelector('.sortable [aria-sort]').getBoundingClientRect().right")
    assert right < 370
