"""Fig. 1b, 3 and 10a with given spike counts and accuracies."""

import pytest

from .conftest import HERE, page

# layer -> neurons, timesteps, spikes per image; direct: SA 2, 1, 1, rate-coded: SA 5, 4, 2
DIRECT = {"conv1": [100, 4, 200.0], "conv2": [50, 4, 50.0], "fc1": [10, 4, 10.0]}
RATE = {"conv1": [100, 20, 500.0], "conv2": [50, 20, 200.0], "fc1": [10, 20, 20.0]}
# T:                   1   2   3   4   6   8  10  15  20
RATE_ACCURACY = [10.0, 20, 30, 40, 50, 79, 60, 80, 80.5]
DIRECT_ACCURACY = [10.0, 60, 79.5, 80]
OTHER = "; not compared, because they were measured on different processors"


def elsewhere(wanted):
    """Rate-coded networks come from another processor."""
    return {**HERE, "cpu": "B"} if wanted.method == "rate" else HERE


def counts(wanted):
    if wanted.kind == "pool-activity":
        return None
    return RATE if wanted.method == "rate" else DIRECT


def accuracies(wanted):
    assert wanted.kind == "by-time"
    found = RATE_ACCURACY if wanted.method == "rate" else DIRECT_ACCURACY
    assert len(found) == len(wanted.grid)
    return found


@pytest.mark.parametrize(("name", "answer"), [("fig3", counts), ("fig10a", accuracies)])
def test_two_trainings_are_shown_and_not_compared(name, answer):
    claims = page(name, answer, where=elsewhere).claims
    assert {claim.verdict for claim in claims} == {"not judged"}
    assert all(OTHER in claim.numbers for claim in claims)
    assert "not judged" not in {claim.verdict for claim in page(name, answer).claims}


def test_an_accuracy_that_is_never_reached_is_named():
    made = page("fig10a", lambda wanted: [v / 2 for v in RATE_ACCURACY] if wanted.method == "rate" else DIRECT_ACCURACY)
    own, same = made.tables[0].rows[1:3]
    assert own[3].mean == 15
    assert same[3] == "not reached"
    assert same[-1] is None


def test_latency_is_judged_by_the_steps_that_are_needed():
    """Not by those of the recipes, which are a choice (D6)."""
    claim = page("fig10a", accuracies).claims[1]
    assert (claim.verdict, claim.paper, claim.ours) == ("agrees", 25.0, 5.0)
    assert "needs 3 steps, rate coding 15: 5.0 times fewer" in claim.numbers

    def slow(wanted):
        return accuracies(wanted) if wanted.method == "traditional" else [80.0] * len(wanted.grid)

    assert {claim.verdict for claim in page("fig10a", slow).claims} == {"differs"}  # one step is enough for rate coding
