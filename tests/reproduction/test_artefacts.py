"""From names to files: what is planned, done in workers, written, left out, and continued."""

import doctest
import json

import pytest
from distributed import LocalCluster

from hiresnn.app.train import ann_key
from hiresnn.errors import RunError, UsageError
from reproduction import artefacts, measure, page, paper, statistics
from reproduction.artefacts import (
    ARTEFACTS,
    NOT_IN_PAPER,
    chosen,
    claims_text,
    do,
    every,
    needs,
    plan,
    provenance,
    reproduce,
    stage,
    work_through,
)
from reproduction.paper import SCALES, VGG5
from reproduction.results import Results, accuracy
from reproduction.study import Measurement, StoredValue

from .conftest import only, study_in


@pytest.mark.parametrize("module", [artefacts, measure, page, paper, statistics])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_names_come_in_the_papers_order_and_all_is_everything():
    assert list(chosen(["fig4", "table2", "fig4"], SCALES["smoke"])) == ["table2", "fig4"]
    assert list(chosen(["all"], SCALES["smoke"])) == [name for name in ARTEFACTS if name not in NOT_IN_PAPER]
    assert list(chosen(["all"], SCALES["full"])) == ["table1", "table2", "table3", "bounds", "claims"]
    with pytest.raises(UsageError, match=r'no table or figure \'tabel1\'; did you mean "table1"\?'):
        chosen(["tabel1"], SCALES["smoke"])
    with pytest.raises(UsageError, match="has no network or no black box"):
        chosen(["fig4"], only(SCALES["smoke"], VGG5))


@pytest.mark.parametrize("scale", SCALES)
def test_every_page_knows_what_it_needs_also_for_one_network_alone(scale):
    listed = every(SCALES[scale])
    assert list(chosen(["all"], SCALES[scale])) == listed
    for network in SCALES[scale].networks:
        possible = chosen(["all"], only(SCALES[scale], network))
        assert ("table2" in possible) == (network != "vgg5-mnist")
        assert ("fig4" in possible) == (network == "vgg11-cifar100" and "fig4" in listed)
        assert ("fig5a" in possible) == (network == "vgg5-mnist" and "fig5a" in listed)


def test_one_that_fails_does_not_stop_the_others(study, tmp_path, monkeypatch):
    def fails(*_):
        raise RunError("the loss is nan.")

    for one in needs("table2", study.scale):
        study.put(one, 50.0, 1.0)
    monkeypatch.setitem(measure.MEASURE, "cost", fails)
    with pytest.raises(RunError, match=r"1 of 2 artefacts failed, fig7 first: the loss is nan\."):
        reproduce(study, ["table2", "fig7"], tmp_path, command="")
    assert "[table2]" in (tmp_path / "index.md").read_text()
    with pytest.raises(RunError, match=r"^the loss is nan\."):
        reproduce(study, ["fig7"], tmp_path, command="")


def test_a_partial_page_has_what_is_measured_and_trains_nothing(study, tmp_path):
    wanted = accuracy(VGG5, "hire").each(study.scale) + accuracy(VGG5, "hire", "fgsm").each(study.scale)
    study.put(wanted[0], 71.25, 1.0)
    study.put(wanted[1], 12.5, 1.0)
    (tmp_path / "findings.md").write_text("# What was found\n\n# Later\n")  # by hand
    written = reproduce(study, ["table2", "fig8b", "table6"], tmp_path, command="", partial=True)
    assert (tmp_path / "index.md").read_text().splitlines()[-1] == "- [findings](findings.md): What was found"
    assert [path.name for path in written] == ["table2.md", "table2.csv", "table2-2.csv", "index.md"]
    text = (tmp_path / "table2.md").read_text()
    assert "Not finished: 6 of 8 values are not measured yet, and left out here." in text
    row = next(line for line in text.splitlines() if line.startswith("| VGG5"))
    assert "| 87.5 | 71.3 |" in row
    assert row.count("n/a") == 4
    assert not (study.root / "runs").exists()


def test_values_of_two_trainings_of_one_network_are_named(study, tmp_path):
    wanted = accuracy(VGG5, "hire").each(study.scale) + accuracy(VGG5, "hire", "fgsm").each(study.scale)
    for one, cpu in zip(wanted, ("Z80", "6502"), strict=True):
        study.put(one, 50.0, 1.0)
        path = study.value_path(one)
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"where": record["where"] | {"cpu": cpu}}))
    reproduce(study, ["table2"], tmp_path, command="", partial=True)
    assert f"not all of one training: {study.name(wanted[0].run)}." in (tmp_path / "table2.md").read_text()


def test_the_terminal_shows_one_paragraph_for_each_claim(study, tmp_path):
    for method, percent in (("hire", 40.0), ("traditional", 60.0)):
        for attack in ("fgsm", "pgd"):
            study.put(*accuracy(VGG5, method, attack).each(study.scale), percent, 1.0)
    written = reproduce(study, ["claims"], tmp_path, command="", partial=True)
    assert [path.name for path in written] == ["claims.md", "claims.csv", "index.md"]
    text = claims_text(tmp_path)
    assert "sec. 5.2: HIRE-SNN is better than traditional training for every network" in text
    assert "paper 2.5, here -20.0 (" in text
    assert "[table2]" in text


def test_provenance_names_each_processor_and_its_days_the_most_frequent_first():
    values = [("A", "2026-11-24"), ("B", "2026-11-25"), ("B", "2026-11-23"), ("B", "2026-11-25")]
    records = [StoredValue(0.0, {"cpu": cpu, "torch": "2.5", "date": f"{day}T09:00"}) for cpu, day in values]
    assert provenance(records) == (
        "Measured: 3 values on B, torch 2.5, 2026-11-23 to 2026-11-25; 1 value on A, torch 2.5, 2026-11-24."
    )


def test_the_table_of_results_is_tidy(study):
    one = accuracy(VGG5, "hire", "pgd").each(study.scale)[0]
    (row,) = Results(study.scale, {one: StoredValue(41.0, {"cpu": "A", "semantics": 1})}).rows()
    assert (row["method"], row["attack"], row["box"], row["value"]) == ("hire", "pgd", "white", 41.0)
    assert row["origin"] == "A, semantics 1"


VALUES = [
    accuracy("vgg5-cifar10", method, attack) for method, attack in (("ann", None), ("hire", None), ("hire", "fgsm"))
]


@pytest.fixture(scope="module")
def address():
    """Of a dask scheduler with two workers of one thread on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_two_at_a_time_give_the_values_of_one_after_the_other(tiny, tmp_path, address):
    measurements = [one for value in VALUES for one in value.each(tiny)]
    one, two, cluster = (study_in(tmp_path / name, tiny) for name in ("one", "two", "cluster"))
    for task in plan(one, measurements):
        do(one, task)
    work_through(two, measurements, workers=2)
    work_through(cluster, measurements, scheduler=address)
    values = [[stored and stored.value for stored in map(study.find, measurements)] for study in (one, two, cluster)]
    assert None not in values[0]
    assert values[0] == values[1] == values[2]


def test_what_fails_stops_nothing_else_and_times_are_left_to_the_caller(study):
    good, failing, cost = (
        Measurement("accuracy", "vgg5-cifar10", "ann", 0),
        Measurement("held-out", "vgg5-cifar10", "ann", 0),  # its recipe holds no images out
        Measurement("cost", "vgg5-cifar10", "hire", 0),
    )
    work_through(study, [failing, good, cost], workers=2)
    assert [study.find(one) is None for one in (good, failing, cost)] == [False, True, True]


def test_a_plan_has_each_training_once_before_what_needs_it(study):
    wanted = accuracy("vgg5-cifar10", "hire", "pgd", "same-ann").each(study.scale)
    assert [stage(task) for task in plan(study, wanted * 2)] == ["ann", "snn", "snn", "value"]
    assert study.name(plan(study, wanted)[0]).startswith("vgg5-cifar10-ann-seed0-")
    assert not study.root.exists()


def test_a_rate_coded_network_starts_from_an_ann_of_its_own_input(study):
    ann, own, rate, value = plan(
        study, [*accuracy(VGG5, "ann").each(study.scale), *accuracy(VGG5, "rate").each(study.scale)]
    )[:4]
    assert [stage(task) for task in (ann, own, rate, value)] == ["ann", "ann", "snn", "value"]
    plain, symmetric = (study.recipe(run) for run in (ann, own))
    assert (plain.model.normalise, symmetric.model.normalise) == (True, "symmetric")
    recipe, dataset = study.recipe(rate), study.dataset(VGG5)
    assert ann_key(recipe, dataset) == ann_key(symmetric, dataset) != ann_key(plain, dataset)


def test_a_scheduler_must_answer_and_have_workers_of_one_thread(study):
    with pytest.raises(UsageError, match="no dask scheduler answers"):
        work_through(study, [], scheduler="nowhere://")
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, pytest.raises(UsageError, match="--nthreads 1"):
        work_through(study, [], scheduler=cluster.scheduler_address)
