"""Numbers and names as pages write them."""

import pytest

from hiresnn.report import words


@pytest.mark.parametrize(
    ("value", "text"), [(3.46, "3.5"), (100, "100.0"), (-0.004, "0.0"), (0.0, "0.0"), (None, "–"), (-1.26, "-1.3")]
)
def test_percent_has_one_digit_and_no_negative_zero(value: float | None, text: str) -> None:
    assert words.percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(32.5, "+32.5"), (0.04, "0.0"), (-0.04, "0.0"), (-1.2, "−1.2")])
def test_differences_carry_their_sign(value: float, text: str) -> None:
    assert words.change(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0264, "+0.026"), (-0.0004, "0.000"), (-0.0391, "−0.039")])
def test_rates_change_by_thousandths(value: float, text: str) -> None:
    assert words.change(value, 3) == text


@pytest.mark.parametrize(
    ("labels", "short", "unit"),
    [
        (["0", "0.5/255", "inf"], ["0", "0.5", "∞"], "bound on each pixel (L∞), in 1/255"),
        (["0", "0.03", "8/255"], ["0", "0.03", "8/255"], "bound on each pixel (L∞)"),
    ],
)
def test_the_axis_takes_over_a_unit_that_all_bounds_share(labels: list[str], short: list[str], unit: str) -> None:
    assert words.ticks(labels) == (short, unit)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.46085634, "0.4609"), (1.0, "1"), (12345.6, "12,346"), (0.0, "0"), (None, "–"), (1e308, "1e+308")],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [("cpu", "cpu"), (None, "–"), (True, "true"), ([0.6, 0.8], "[0.6, 0.8]"), ({"a": 1}, '{"a": 1}')]
)
def test_settings_read_as_in_their_file(value: object, text: str) -> None:
    assert words.plain(value) == text


def test_names_may_wrap_after_commas_and_are_escaped() -> None:
    assert words.breakable("pgd:eps=1,<b>") == "pgd:<wbr>eps=1,<wbr>&lt;b&gt;"
