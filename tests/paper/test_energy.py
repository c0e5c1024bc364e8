"""Tables 6 and 7, Fig. 11 and the totals behind them, on operations that are given."""

import math
from typing import Any

import pytest

from hiresnn.analysis import EnergyReport
from hiresnn.charts import print as plotting
from hiresnn.paper import energy
from hiresnn.paper import totals as totals_module
from hiresnn.paper.artefact import ARTEFACTS, Artefact
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.totals import EVERY, PRINTED, Total, totals

from .conftest import StubStudy
from .drawn import heights, names, stars
from .given import report

# As printed, FP32 and INT32: HIRE 1,000 MACs and 100 ACs; ANN 1,200 MACs; rate 3,000 + 100 ACs.
HIRE, ANN, RATE = (4690.0, 3210.0), (5520.0, 3840.0), (2790.0, 310.0)
# Every operation of HIRE: 900 MACs, 160 ACs, 80 multiplications; of the ANN: 1,100 MACs.
HIRE_EVERY, ANN_EVERY = (4140 + 144 + 296, 2880 + 16 + 248), (5060.0, 3520.0)


def given(
    study: Study, network: str, method: str, *, attack: str | None = None, variants: int = 1
) -> list[EnergyReport]:
    """Two seeds alike, of which the rate-coded network has one."""
    return [report(rate=True)] if method == "rate" else [report(zeta=0.5 if attack is None else 0.7), report()]


@pytest.fixture
def study(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> StubStudy:
    monkeypatch.setattr(energy, "reports", given)
    monkeypatch.setattr(totals_module, "reports", given)
    monkeypatch.setattr(totals_module, "equal_bits", lambda study, network, seed: None if network[0] == "r" else 2)
    return stub


def pair(total: Total) -> tuple[float, ...]:
    return tuple(stat.mean for stat in total.pj.values() if stat is not None)


def test_totals_are_the_equations_of_the_paper_and_the_sum_of_all_operations(study: StubStudy) -> None:
    found = totals(study, "vgg11-cifar100")
    assert pair(found["hire", PRINTED]) == pytest.approx(HIRE)
    assert pair(found["ann", PRINTED]) == pytest.approx(ANN)
    assert pair(found["rate", PRINTED]) == pytest.approx(RATE)
    assert pair(found["hire", EVERY]) == pytest.approx(HIRE_EVERY)
    assert pair(found["ann", EVERY]) == pytest.approx(ANN_EVERY)
    # seeds 0.7 and 0.5: 140 and 100 ACs
    assert pair(found["attacked", PRINTED]) == pytest.approx((4600 + 0.9 * 120, 3200 + 0.1 * 120))


def test_anns_with_few_bits_have_the_bits_of_t_and_those_of_equal_accuracy(study: StubStudy) -> None:
    found = totals(study, "vgg11-cifar100")
    levels, accurate = found["equal-levels", EVERY], found["equal-accuracy", EVERY]
    assert (levels.bits, accurate.bits) == (Stat.of([3, 3]), Stat.of([2, 2]))  # T = 4: five levels, 3 bits
    assert pair(levels)[0] == pytest.approx(900 * 4.6 + 200 * (3.7 * 3 / 32 + 0.9))
    assert pair(accurate)[0] == pytest.approx(900 * 4.6 + 200 * (3.7 * 2 / 32 + 0.9))


def test_no_bits_are_no_energy(study: StubStudy) -> None:
    found = totals(study, "resnet12-cifar10")
    assert found["equal-accuracy", EVERY].pj == {"fp32": None, "int32": None}
    assert found["equal-accuracy", EVERY].over(found["hire", EVERY], "fp32") is None
    assert ("rate", PRINTED) not in found


def test_a_seed_whose_ann_is_never_as_accurate_leaves_the_others_with_their_own(
    study: StubStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals_module, "equal_bits", lambda study, network, seed: None if seed == 0 else 2)
    found = totals(study, "vgg11-cifar100")
    few, hire = found["equal-accuracy", EVERY], found["hire", EVERY]
    assert few.bits is not None
    assert (few.bits.mean, few.bits.seeds) == (2, 1)
    times = few.over(hire, "fp32")
    assert times is not None
    assert [math.isnan(value) for value in times.values] == [True, False]  # the second stands beside HIRE's second


def test_a_multiple_is_taken_seed_by_seed_over_the_seeds_of_both() -> None:
    one = Total("rate", PRINTED, {"fp32": Stat.of([8.0])})
    two = Total("hire", PRINTED, {"fp32": Stat.of([2.0, 100.0])})
    assert one.over(two, "fp32") == Stat.of([4.0])


def test_prices_are_those_of_table_7(study: StubStudy) -> None:
    rows = energy.table7(study).tables[0].rows
    assert [row[1:] for row in rows] == [
        [3.1, 3.1, 0.0, 3.7, 3.7, 0.0],
        [0.1, 0.1, 0.0, 0.9, 0.9, 0.0],
        [3.2, 3.2, 0.0, 4.6, 4.6, 0.0],
        [0.1, 0.1, 0.0, 0.9, 0.9, 0.0],
    ]


def test_table_7_sets_every_total_beside_hire_under_the_same_count(study: StubStudy) -> None:
    rows = [row for row in energy.table7(study).tables[1].rows if row[0] == "VGG11"]
    found: dict[Any, Any] = {(row[2], row[3]): row for row in rows}
    ann = found["ANN", EVERY]
    assert ann[5].mean == pytest.approx(5.06)  # nJ
    assert ann[7].mean == pytest.approx(ANN_EVERY[0] / HIRE_EVERY[0])
    assert found["rate-coded SNN", PRINTED][8].mean == pytest.approx(RATE[1] / HIRE[1])
    assert found["HIRE-SNN", PRINTED][7].mean == found["HIRE-SNN", EVERY][7].mean == 1


def test_memory_is_words_times_the_price_of_a_word(study: StubStudy) -> None:
    rows: list[Any] = [row for row in energy.table7(study).tables[2].rows if row[0] == "VGG5"]
    assert [row[2] for row in rows] == ["HIRE-SNN", "ANN", "rate-coded SNN"]
    # weights 900 + 40, activations 2 x (10 + 40), membranes 2 x 4 steps x 20 neurons, 250 parameters
    reads, activations, membranes, parameters, state, on_chip, off_chip = rows[0][3:]
    counts = [cell.mean for cell in (reads, activations, membranes, parameters)]
    assert counts == pytest.approx([0.94, 0.1, 0.16, 0.25])
    assert state == 80 / 1024
    assert on_chip.mean == pytest.approx(5 * 1.2)
    assert off_chip.mean == pytest.approx(5 * 1.2 + 650 * 0.25)


def test_table_6_has_a_table_for_each_network_and_for_each_rate_coded_one(study: StubStudy) -> None:
    tables = energy.table6(study).tables
    assert len(tables) == 4 + 2
    assert [row[0] for row in tables[0].rows] == ["conv1", "relu1", "linear1", "total"]
    assert tables[1].caption == "VGG5 on CIFAR-10, rate-coded SNN, T = 4."


@pytest.mark.parametrize(("name", "place"), [("fig11a", 0), ("fig11b", 1)])
def test_fig_11_shows_multiples_of_hire_and_the_papers_for_vgg11(study: StubStudy, name: str, place: int) -> None:
    artefact = getattr(energy, name)(study)
    rows: list[Any] = [row for row in artefact.tables[0].rows if row[0] == "VGG11"]
    rate, ann = rows[0], rows[1]
    paper = ((4.6, 10.0), (3.9, 53.0))[place]
    assert rate[4:] == [paper[0], rate[5], pytest.approx(RATE[place] / HIRE[place] - paper[0])]
    assert ann[5].mean == pytest.approx(ANN[place] / HIRE[place])
    assert all(row[4] is None for row in artefact.tables[0].rows if row[0] != "VGG11" or row[3] == EVERY)

    drawn = artefact.figure(plotting)
    printed, every = drawn.axes
    assert {y for _, y in stars(printed)} == set(paper)
    assert not stars(every)
    assert heights(every)["ANN"] == pytest.approx([ANN_EVERY[place] / HIRE_EVERY[place]] * 4)
    assert heights(printed)["HIRE-SNN"] == [1] * 4
    assert printed.get_yscale() == "log"
    assert "ANN, few bits, as accurate" in names(drawn)


def test_fig_11_tells_where_rate_coding_takes_less_than_hire(study: StubStudy) -> None:
    notes = energy.fig11b(study).notes
    # rate 310 of HIRE's 3,210 pJ as printed; every operation 2,740 + 120 ACs, 80 multiplications: 534 of 3,144
    (told,) = [note for note in notes if "directions of the paper" in note]
    assert told.startswith("2 of 4 directions of the paper do not come out here")
    assert "rate-coded SNN, as printed, times HIRE-SNN less 1 (paper +2.9, here -0.9" in told


def test_fig_11_tells_where_few_bits_take_less_and_where_none_are_as_accurate(study: StubStudy) -> None:
    notes = energy.fig11a(study).notes
    times = (900 * 4.6 + 200 * (3.7 * 2 / 32 + 0.9)) / HIRE_EVERY[0]
    assert any(f"takes less than HIRE-SNN: VGG5 on CIFAR-10 ({times:.2f} times)" in note for note in notes)
    assert any("as accurate as HIRE-SNN: ResNet12 on CIFAR-10 in 2 of 2 seeds" in note for note in notes)


@pytest.mark.parametrize("name", ["table6", "table7", "fig11a", "fig11b"])
def test_a_plan_runs_nothing(stub: StubStudy, name: str) -> None:
    made: list[Artefact] = []
    stub.answer = lambda *asked: float("nan")
    jobs = stub.plan([lambda planned: made.append(ARTEFACTS[name](planned))])
    assert {job.kind for job in jobs} >= {"ann", "hire", "rate", "measure"}
    assert not list(stub.root.glob("runs/*"))
