"""Jobs at the same time: the same values as one after the other; failures are left to the caller."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from hiresnn.errors import UsageError
from reproduction.artefacts import do, plan, stage, work_through
from reproduction.paper import Scale
from reproduction.results import accuracy
from reproduction.study import Measurement, Study

from .conftest import study_in

VALUES = [
    accuracy("vgg5-cifar10", method, attack) for method, attack in (("ann", None), ("hire", None), ("hire", "fgsm"))
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a dask scheduler with two workers of one thread on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_two_at_a_time_give_the_values_of_one_after_the_other(tiny: Scale, tmp_path: Path, address: str) -> None:
    measurements = [one for value in VALUES for one in value.each(tiny)]
    one, two, cluster = (study_in(tmp_path / name, tiny) for name in ("one", "two", "cluster"))
    for task in plan(one, measurements):
        do(one, task)
    work_through(two, measurements, workers=2)
    work_through(cluster, measurements, scheduler=address)
    values = [[stored and stored.value for stored in map(study.find, measurements)] for study in (one, two, cluster)]
    assert None not in values[0]
    assert values[0] == values[1] == values[2]


def test_what_fails_stops_nothing_else_and_times_are_left_to_the_caller(study: Study) -> None:
    good, failing, cost = (
        Measurement("accuracy", "vgg5-cifar10", "ann", 0),
        Measurement("held-out", "vgg5-cifar10", "ann", 0),  # its recipe holds no images out
        Measurement("cost", "vgg5-cifar10", "hire", 0),
    )
    work_through(study, [failing, good, cost], workers=2)
    assert [study.find(one) is None for one in (good, failing, cost)] == [False, True, True]


def test_a_plan_has_each_training_once_before_what_needs_it(study: Study) -> None:
    wanted = accuracy("vgg5-cifar10", "hire", "pgd", "same-ann").each(study.scale)
    assert [stage(task) for task in plan(study, wanted * 2)] == ["ann", "snn", "snn", "value"]
    assert study.name(plan(study, wanted)[0]).startswith("vgg5-cifar10-ann-seed0-")
    assert not study.root.exists()


def test_a_scheduler_must_answer_and_have_workers_of_one_thread(study: Study) -> None:
    with pytest.raises(UsageError, match="no dask scheduler answers"):
        work_through(study, [], scheduler="nowhere://")
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, pytest.raises(UsageError, match="--nthreads 1"):
        work_through(study, [], scheduler=cluster.scheduler_address)
