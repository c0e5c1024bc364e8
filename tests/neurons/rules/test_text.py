import math

import pytest

from hiresnn.errors import UsageError
from hiresnn.neurons.layer_rules import ASSG, BPTR, HART, PDSG, Conversion, Unrolled
from hiresnn.neurons.rules import RULES, Rule, canonical_rule, rule_from_text
from hiresnn.neurons.surrogate import Arctan, Exponential, Linear, StraightThrough, triangular


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("arctan", Arctan(2)),
        ("arctan/alpha=4", Arctan(4)),
        ("hart/width=0.25", HART(0.25)),
        ("linear/width=0.5", Linear(width=0.5)),
        ("linear/width=1/2/gamma=3/10", Linear(gamma=0.3, width=0.5)),
        ("linear/width=.5/gamma=1e+1", Linear(gamma=10, width=0.5)),
        ("linear/width=inf", Linear(width=math.inf)),
        ("triangular/width=0.5", triangular(0.5)),
        ("exponential/height=2/gamma=2", Exponential(2, 2)),
        ("conversion/ceiling=inf", Conversion(math.inf)),
        ("bptr", BPTR()),
        ("arctan/alpha=4/reset", Unrolled(Arctan(4), through_reset=True)),
        ("arctan/reset/alpha=4", Unrolled(Arctan(4), through_reset=True)),
        ("linear/cut", Unrolled(Linear(), cut_time=True)),
        ("straight-through/cut/reset", Unrolled(StraightThrough(), through_reset=True, cut_time=True)),
        ("unrolled", Unrolled()),
        ("unrolled/reset", Unrolled(through_reset=True)),
        ("pdsg/shift=1/cut", PDSG(1, cut_time=True)),
    ],
)
def test_a_text_is_read_as_its_rule(text: str, rule: Rule) -> None:
    assert rule_from_text(text) == rule


def test_assg_has_its_own_options_and_flags() -> None:
    rule = rule_from_text("assg/vanishing=0.8/reset/cut")
    assert isinstance(rule, ASSG)
    assert (rule.vanishing, rule.relax, rule.through_reset, rule.cut_time) == (0.8, 1.5, True, True)
    assert rule_from_text("assg") is not rule_from_text("assg")  # it keeps statistics


@pytest.mark.parametrize("name", RULES)
def test_every_rule_name_is_a_text(name: str) -> None:
    assert type(rule_from_text(name)) is type(RULES[name].make())


FORGETS = "has no temporal chain, so it takes neither reset nor cut"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arctangent", "rule 'arctangent' is not known; did you mean .arctan.. choose one of linear"),
        ("", "rule '' is not known"),
        ("arctangent/alpha=4", "rule 'arctangent' of 'arctangent/alpha=4' is not known"),
        (
            "arctan/width=4",
            "rule 'arctan/width=4': arctan has no option 'width=4'; its options: alpha=VALUE, reset, cut",
        ),
        ("arctan/alpha=4/width=4", "rule 'arctan/alpha=4/width=4': arctan has no option 'width=4'"),
        ("arctan/", "arctan has no option ''"),
        ("arctan/reset=true", "arctan has no option 'reset=true'"),
        ("straight-through/k=1", "straight-through has no option 'k=1'; its options: reset, cut"),
        ("unrolled/surrogate=arctan", "unrolled has no option 'surrogate=arctan'; its options: reset, cut"),
        ("assg/through_reset=1", "assg has no option 'through_reset=1'; its options: vanishing=VALUE, relax=VALUE"),
        ("arctan/alpha", "rule 'arctan/alpha': alpha is ''; it takes a number"),
        ("arctan/alpha=big", "alpha is 'big'; it takes a number"),
        ("arctan/alpha=nan", "alpha is 'nan'; it takes a number"),
        ("arctan/alpha=1/0", "alpha is '1/0'; it takes a number"),
        ("arctan/alpha=-1", "rule 'arctan/alpha=-1': Arctan rule: alpha is -1.0; it must be above 0"),
        ("assg/vanishing=1", "rule 'assg/vanishing=1': ASSG rule: vanishing is 1.0; it must lie in"),
        ("arctan/alpha=inf", "rule 'arctan/alpha=inf': its values are not finite"),
        ("hart/width=inf", "rule .hart/width=inf.: HART rule: width is inf"),
        ("arctan/alpha=2/alpha=4", "rule 'arctan/alpha=2/alpha=4': alpha is given twice"),
        ("arctan/cut/cut", "cut is given twice"),
        ("bptr/reset", f"rule 'bptr/reset': bptr {FORGETS}"),
        ("rga/g=0.5/cut", f"rule 'rga/g=0.5/cut': rga {FORGETS}"),
        ("conversion/cut/reset", f"conversion {FORGETS}"),
        ("bptr/k=1", "bptr has no option 'k=1'; its options: none"),
        ("rga/k=1", "rga has no option 'k=1'; its options: g=VALUE\\."),
        ("hart/cut", f"hart {FORGETS}"),
    ],
)
def test_a_text_that_does_not_parse_is_refused_with_its_cause(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rule_from_text(text)


def test_the_canonical_text_has_options_in_order_short_numbers_and_flags_last() -> None:
    assert canonical_rule("linear/cut/width=1/2/gamma=3e-1") == "linear/gamma=0.3/width=0.5/cut"
    assert canonical_rule("assg/cut/reset") == "assg/reset/cut"
    assert canonical_rule("linear/width=inf") == "linear/width=inf"


def test_every_rule_has_a_summary() -> None:
    assert all(info.summary.endswith(".") for info in RULES.values())
