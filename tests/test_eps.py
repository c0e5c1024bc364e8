import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiresnn.calls import bound_at, format_eps, format_number, parse_bound, parse_eps, read_number
from hiresnn.errors import UsageError


@pytest.mark.parametrize(
    ("text", "eps"),
    [("8/255", 8 / 255), ("0.5/255", 0.5 / 255), ("0.03", 0.03), ("0", 0.0), ("1", 1.0), ("1e-2", 0.01), (0.5, 0.5)],
)
def test_bounds_are_read_as_fractions_decimals_and_numbers(text, eps):
    assert parse_eps(text) == eps


@pytest.mark.parametrize("value", ["8", 8, 8.0])
def test_a_bound_in_0_to_255_is_refused_with_the_fraction_that_was_meant(value):
    with pytest.raises(UsageError, match="did you mean 8/255"):
        parse_eps(value)


@pytest.mark.parametrize(
    "value", ["", "x", "8/x", "8/0", "nan", "inf", "-1/255", "1e400", "1/2/3", math.nan, math.inf, -0.1, 10**400]
)
def test_what_is_no_bound_is_refused_by_name(value):
    with pytest.raises(UsageError, match=r"is not a number|does not lie in|is too large"):
        parse_eps(value)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.floats(0, 1) | st.integers(0, 510).map(lambda level: level / 510))
def test_the_text_of_a_bound_reads_back_exactly(eps):
    assert parse_eps(format_eps(eps)) == eps


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.floats(allow_nan=False))
def test_the_text_of_a_number_reads_back_exactly(value):
    assert read_number(format_number(value)) == value


@pytest.mark.parametrize(
    ("text", "eps", "label"),
    [
        ("8/255", 8 / 255, "8/255"),
        ("0.5/255", 0.5 / 255, "0.5/255"),
        (" 2.0/255 ", 2 / 255, "2/255"),
        ("0.03", 0.03, "0.03"),
        ("1/10", 0.1, "25.5/255"),  # 0.1 is 25.5 of 255
        ("1e-3", 0.001, "0.001"),
        ("254.5/255", 254.5 / 255, "254.5/255"),
        ("0", 0.0, "0"),
        ("0/255", 0.0, "0"),
        ("inf", math.inf, "inf"),
        ("255/255", math.inf, "inf"),  # a radius of 1 reaches every image, and so does no bound at all
    ],
)
def test_a_bound_is_named_in_255ths_where_it_is_a_multiple_of_half_of_one(text, eps, label):
    found = parse_bound(text)
    assert found.label == label
    assert found.eps == pytest.approx(eps, rel=1e-12)
    assert parse_bound(label) == found
    assert bound_at(eps) == found
    assert found.radius == min(eps, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, r"bound .* 8/255") for text in ("", "-1/255", "256", "nan", "-inf", "1e400", "8/0", "eight", "inf/2")),
        *((text, f"did you mean {text}/255") for text in ("8", "2.5", "255")),
    ],
)
def test_values_that_are_not_a_radius_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_bound(text)
