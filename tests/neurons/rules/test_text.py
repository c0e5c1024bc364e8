import math

import pytest

from hiresnn.errors import UsageError
from hiresnn.neurons.rules import (
    BPTR,
    HART,
    PDSG,
    RULES,
    Arctan,
    Conversion,
    Exponential,
    Linear,
    StraightThrough,
    Unrolled,
    canonical_rule,
    rule_from_text,
    triangular,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("arctan", Arctan(2)),
        ("arctan(alpha=4)", Arctan(4)),
        ("arctan/alpha=4", Arctan(4)),
        ("hart(width=0.25)", HART(0.25)),
        ("linear(width=1/2, gamma=3/10)", Linear(gamma=0.3, width=0.5)),
        ("linear/width=.5/gamma=1e+1", Linear(gamma=10, width=0.5)),
        ("linear(width=inf)", Linear(width=math.inf)),
        ("triangular(width=0.5)", triangular(0.5)),
        ("exponential/height=2/gamma=2", Exponential(2, 2)),
        ("conversion/ceiling=inf", Conversion(math.inf)),
        ("bptr", BPTR()),
        ("arctan(alpha=4, reset=True)", Unrolled(Arctan(4), through_reset=True)),
        ("arctan/reset/alpha=4", Unrolled(Arctan(4), through_reset=True)),
        ("arctan(reset=False)", Arctan(2)),
        ("straight-through(cut=True, reset=True)", Unrolled(StraightThrough(), through_reset=True, cut_time=True)),
        ("unrolled", Unrolled()),
        ("unrolled/reset", Unrolled(through_reset=True)),
        ("pdsg(shift=1, cut=True)", PDSG(1, cut_time=True)),
    ],
)
def test_a_text_is_read_as_its_rule(text, rule):
    assert rule_from_text(text) == rule


def test_assg_has_its_own_options_and_flags():
    rule = rule_from_text("assg(vanishing=0.8, reset=True, cut=True)")
    assert (rule.vanishing, rule.relax, rule.through_reset, rule.cut_time) == (0.8, 1.5, True, True)
    assert rule_from_text("assg") is not rule_from_text("assg")  # it keeps statistics


@pytest.mark.parametrize("name", RULES)
def test_every_rule_name_is_a_text(name):
    assert type(rule_from_text(name)) is type(RULES[name].make())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("arctangent(alpha=4)", r"rule 'arctangent' is not known; did you mean .arctan.. choose one of linear"),
        ("", "rule '' is not known"),
        ("arctan(width=4)", r"rule 'arctan\(width=4\)': arctan has no option 'width'; it has alpha, reset, cut"),
        ("arctan/alpha=4/width=4", "arctan has no option 'width'"),
        ("unrolled(surrogate=arctan)", "unrolled has no option 'surrogate'"),
        ("straight-through/k=1", "straight-through has no option 'k'; it has reset, cut"),
        ("bptr(reset=True)", "bptr has no option 'reset'; it takes no option"),
        ("hart/cut", "hart has no option 'cut'; it has width"),
        ("arctan(reset=2)", "reset is 2; write True or False"),
        ("arctan(alpha=big)", "alpha is 'big'; write a number"),
        ("arctan/alpha", "alpha is True; write a number"),
        ("arctan/alpha=nan", "alpha is 'nan'; write a number"),
        ("arctan(alpha=-1)", r"rule 'arctan\(alpha=-1\)': Arctan rule: alpha is -1.0; it must be above 0"),
        ("assg/vanishing=1", "ASSG rule: vanishing is 1.0; it must lie in"),
        ("arctan(alpha=inf)", "its values are not finite"),
        ("hart(width=inf)", "HART rule: width is inf"),
        ("arctan(alpha=2, alpha=4)", "alpha is given twice"),
        ("arctan(", "never closed"),
    ],
)
def test_a_text_that_describes_no_rule_is_refused(text, word):
    with pytest.raises(UsageError, match=word):
        rule_from_text(text)


def test_the_canonical_text_has_options_in_order_short_numbers_and_flags_last():
    assert canonical_rule("linear(cut=True, width=1/2, gamma=3e-1)") == "linear/gamma=0.3/width=0.5/cut"
    assert canonical_rule("assg(cut=True, reset=True)") == canonical_rule("assg/cut/reset") == "assg/reset/cut"
    assert canonical_rule("arctan(alpha=4, reset=False)") == "arctan/alpha=4"
    assert canonical_rule("linear/width=inf") == "linear/width=inf"


def test_the_usage_of_a_rule_is_its_options_with_their_defaults():
    assert RULES["linear"].usage == "gamma=0.3, width=1, reset=False, cut=False"
    assert RULES["bptr"].usage == ""


def test_every_rule_has_a_summary():
    assert all(info.summary.endswith(".") for info in RULES.values())
