"""Pages in a real browser: nothing is requested, nothing overflows, all can be read. Skipped without Chromium."""

import re
from itertools import pairwise

import pytest

from hiresnn.app.zoo import folder_of, names
from hiresnn.audit.card import Card
from hiresnn.report.pages import audit_page, read_runs, runs_page

# Contrast of each text with the first opaque background behind it; texts that are drawn nowhere are left out.
CONTRASTS = """() => {
  const rgba = text => { const p = text.match(/[\\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p; };
  const part = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || ["TITLE", "DESC", "STYLE"].includes(element.tagName.toUpperCase())) continue;
    if (!element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const text = rgba(element instanceof SVGElement ? style.fill : style.color);
    let behind = element, back = [0, 0, 0, 0];
    while (behind && back[3] < 1) {
      back = rgba(getComputedStyle(behind).backgroundColor);
      behind = behind.parentElement;
    }
    const [a, b] = [light(text), light(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text[3], back[3], node.data.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module", params=["audit", "runs"])
def address(request, card, make_card, make_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    if request.param == "audit":
        page = audit_page(card)
    else:
        other = make_card(name="a-long-name-that-no-column-of-a-table-on-a-phone-can-hold-in-one-line")
        runs = [
            make_run(folder / "hire-seed0", "hire", card=card),
            make_run(folder / ("traditional-" * 6), "traditional", seed=1, card=other),
            make_run(folder / "ann-seed0", "ann"),
        ]
        page = runs_page(read_runs(runs))
    (folder / "page.html").write_text(page, encoding="utf-8")
    return (folder / "page.html").as_uri()


def test_nothing_is_requested_and_nothing_complains(opened, address):
    page = opened()
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    assert [heard for heard in page.heard if heard != address and not heard.startswith("data:")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_every_text_can_be_read(width, scheme, opened):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = page.evaluate(CONTRASTS)
    assert len(found) > 200
    # Opaque text on an opaque background, or the ratio says nothing.
    assert {(alpha, behind) for _, alpha, behind, _ in found} == {(1, 1)}
    assert [entry for entry in found if entry[0] < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)))
    assert brightness < 100 if scheme == "dark" else brightness > 700


@pytest.mark.parametrize("name", names())
def test_the_audit_of_a_shipped_network_fits_a_phone(name, browser, tmp_path):
    """Their reasons have names of attacks that are longer than a line."""
    card = Card.model_validate_json((folder_of(name) / "audit" / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "page.html").write_text(audit_page(card), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()


def test_wide_tables_scroll_inside_frames_that_a_keyboard_reaches(opened):
    page = opened(360)
    frames = page.evaluate(
        """() => [...document.querySelectorAll('.scroll')].map(frame => {
          frame.focus();
          return [frame.scrollWidth > frame.clientWidth, document.activeElement === frame, frame.tabIndex,
                  frame.getAttribute('aria-label') || ''];
        })"""
    )
    assert any(wide for wide, *_ in frames)
    assert all(focused and tab == 0 and label for _, focused, tab, label in frames)


@pytest.mark.parametrize(("width", "largest"), [(390, 1.2), (1280, 1.4), (1920, 1.4)])
def test_charts_are_not_stretched(width, largest, opened):
    scales = opened(width).evaluate(
        """[...document.querySelectorAll('svg.chart')].filter(each => each.getClientRects().length).map(drawing =>
          drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width)"""
    )
    assert max(scales) <= largest


def test_every_image_has_a_text_and_every_drawing_a_name(opened):
    page = opened()
    assert page.evaluate("[...document.images].filter(image => !image.alt || !image.naturalWidth).length") == 0
    unnamed = """[...document.querySelectorAll('svg')].filter(drawing => {
      if (drawing.getAttribute('aria-hidden') === 'true') return false;
      const names = (drawing.getAttribute('aria-labelledby') || '').split(' ');
      return drawing.getAttribute('role') !== 'img' || names.length !== 2
        || names.some(name => !document.getElementById(name)?.textContent);
    }).length"""
    assert page.evaluate(unnamed) == 0
    assert page.evaluate("document.querySelectorAll('svg[role=img]').length") >= 2


def test_headings_landmarks_and_tables_are_in_order(opened):
    page = opened()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("['header', 'nav', 'main'].map(each => document.querySelectorAll(each).length)") == [1, 1, 1]
    assert page.evaluate("[...document.querySelectorAll('table')].filter(table => !table.caption).length") == 0
    assert page.evaluate("[...document.querySelectorAll('th')].filter(head => !head.scope).length") == 0


def test_text_in_drawings_stays_legible_on_a_phone(opened):
    sizes = opened(360).evaluate(
        """[...document.querySelectorAll('svg.chart')].filter(each => each.getClientRects().length).map(drawing =>
          12 * drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width)"""
    )
    # CSS pixels; 12 units in the drawing's own scale.
    assert min(sizes) > 8.5


def test_on_paper_it_is_light_and_no_table_is_cut(opened):
    # A4 without its margins of 14 mm is 182 mm: 688 pixels at 96 dpi.
    page = opened(688, "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 31, 35)"
    cut = """[...document.querySelectorAll('table, figure, pre, dl')].filter(each =>
      each.getBoundingClientRect().right > 689).map(each => each.innerText.slice(0, 60))"""
    assert page.evaluate(cut) == []
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
