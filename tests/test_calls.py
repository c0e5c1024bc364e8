"""Calls as text: what is read, in both syntaxes, what is refused, and that every call can be written and read back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiresnn.calls import EXAMPLES, Call, read_call, typed
from hiresnn.errors import UsageError

LINEAR = Call("linear", {"width": 0.5, "gamma": 10})
ARCTAN = Call("arctan", {"alpha": 4, "reset": True})


@pytest.mark.parametrize(
    ("subject", "text", "old", "call"),
    [
        ("attack", "pgd", "pgd", Call("pgd")),
        ("attack", "pgd(eps=8/255, steps=20)", "pgd:eps=8/255,steps=20", Call("pgd", {"eps": 8 / 255, "steps": 20})),
        ("attack", "apgd(loss=dlr-targeted)", "apgd:loss=dlr-targeted", Call("apgd", {"loss": "dlr-targeted"})),
        ("attack", f"pgd(rule=[{ARCTAN}])", "pgd:rule=arctan/alpha=4/reset", Call("pgd", {"rule": [ARCTAN]})),
        ("attack", "a/b.py:f(eps=1/2)", "a/b.py:f:eps=1/2", Call("a/b.py:f", {"eps": 0.5})),
        ("attack", "a/b.py:f", "a/b.py:f", Call("a/b.py:f")),
        ("rule", "arctan(alpha=4, reset=True)", "arctan/alpha=4/reset", ARCTAN),
        ("rule", "linear(width=1/2, gamma=1e+1)", "linear/width=1/2/gamma=1e+1", LINEAR),
        ("view", "int8(channel=True, leak=1)", "int8-channel+leak=1", Call("int8", {"channel": True, "leak": 1})),
        ("view", "int4(shared=True)", "int4+shared-scale", Call("int4", {"shared": True})),
        ("view", "int8(shared=True)", "shared-scale", Call("int8", {"shared": True})),
        ("view", "float(condition='>=')", "condition=>=", Call("float", {"condition": ">="})),
    ],
)  # fmt: skip
def test_a_text_and_that_of_version_02_are_the_same_call(subject, text, old, call):
    assert read_call(text, subject) == read_call(old, subject) == read_call(str(call), subject) == call


def test_several_rules_of_version_02_are_a_list():
    rules = read_call("greedy:rule=arctan/alpha=4e+0/cut+bptr", "attack").options["rule"]
    assert rules == [Call("arctan", {"alpha": 4.0, "cut": True}), "bptr"]


WORDS = st.from_regex(r"z[a-z]{1,5}(-z[a-z]{1,5}){0,2}", fullmatch=True)  # no keyword of Python begins with z
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(0, 1e6) | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner) | st.builds(Call, WORDS, st.dictionaries(st.sampled_from("abc"), inner, min_size=1)),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(WORDS, st.dictionaries(st.sampled_from(["eps", "rule", "loss"]), VALUES))
def test_every_call_is_written_as_a_text_that_reads_back(name, options):
    call = Call(name, options)
    assert read_call(str(call), "attack") == call


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.text(max_size=30) | st.text("pgd()=,:/+-1x.'[] \0", max_size=12).map("pgd(".__add__),
    st.sampled_from(list(EXAMPLES)),
)
def test_any_text_is_read_or_refused_with_a_sentence(text, subject):
    try:
        call = read_call(text, subject)
    except UsageError:
        return
    assert read_call(str(call), subject) == call


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pgd(eps=8/)", "column 11"),
        ("pgd(eps=8/255", "column 4"),
        ("pgd(eps=1) x", "column 12"),
        ("pgd:rule=arctan(alpha=4)", "no call"),
        ("pgd(8/255)", "8 / 255 has no name"),
        ("pgd(eps=1, eps=2)", "eps is given twice"),
        ("pgd(**eps)", "given twice or has no name"),
        ("pgd(eps=8/x)", "'x' is not a number"),
        ("pgd(eps=1/0)", "divides by zero"),
        ("pgd(eps=open('x'))", "has no name"),
        ("pgd(eps=a.b)", "'a.b' is no number"),
        ("pgd(eps=1 < 2)", "'1 < 2' is no number"),
        (f"pgd(eps={'9' * 10_000})", "4300 digits"),
        (f"pgd(eps={'-' * 100_000}1)", "cannot be read"),
    ],
)
def test_what_is_no_call_is_refused_with_the_place(text, word):
    with pytest.raises(UsageError, match="attack") as refused:
        read_call(text, "attack")
    assert word in str(refused.value)
    assert len(str(refused.value)) < 400


def test_an_unknown_option_names_the_nearest_and_all_others():
    with pytest.raises(
        UsageError, match=r"^rule 'x': arctan has no option 'alhpa'; did you mean .alpha.. it has alpha, cut.$"
    ):
        Call("arctan", {"alhpa": 1}).require(["alpha", "cut"], "rule 'x'")


def test_a_value_takes_the_type_of_the_default():
    typed_values = [typed("true", False, ""), typed("8/255", 0.0, ""), typed(3, 0.0, ""), typed("20", 7, "")]
    assert list(map(repr, typed_values)) == ["True", repr(8 / 255), "3.0", "20"]
    for value, default in [(1, False), (2.5, 7), (True, 7), ("nan", 0.0), (10**400, 0.0), ("x", 0.0), ([1], 0.0)]:
        with pytest.raises(UsageError, match="pgd: x is"):
            typed(value, default, "pgd: x")
