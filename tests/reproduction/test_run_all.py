"""Several pages: chosen by name, planned without double counting, written as their values arrive."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiresnn.app.folder import environment
from hiresnn.app.recipe import SEMANTICS
from hiresnn.errors import NotFiniteError, RunError, UsageError
from reproduction import run_all
from reproduction import study as study_module
from reproduction.artefacts import ARTEFACTS, Artefact
from reproduction.artefacts import every as all_of
from reproduction.measurements import Measurement, accuracy
from reproduction.measuring import MEASURE
from reproduction.page import Page, Table
from reproduction.plan import Job, plan, plan_text
from reproduction.run_all import chosen, do, plan_parts, reproduce, scale_of
from reproduction.scales import SCALES, Scale
from reproduction.study import Study

from .conftest import study_in

VGG5 = "vgg5-cifar10"
TABLES = [f"table{number}" for number in range(1, 8)]
FIGURES = [
    f"fig{end}" for end in ("1a", "1b", "1c", "3", "4", "5a", "5b", "7", "8a", "8b", "9", "10a", "10b-e", "11a", "11b")
]


@pytest.fixture
def needed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Measurement]]:
    """Artefact -> what it needs; by default one value that costs nothing to measure. Pages are one small table."""
    found: dict[str, list[Measurement]] = {}
    monkeypatch.setitem(MEASURE, "cost", lambda *_: 1.0)

    def simple(name: str) -> Artefact:
        def needs(scale: Scale) -> list[Measurement]:
            return found.get(name, [Measurement("cost", VGG5, "hire", list(ARTEFACTS).index(name))])

        return replace(ARTEFACTS[name], needs=needs, render=lambda values: Page([Table("caption", ["a"], [["b"]])]))

    for name in ("table1", "table2"):
        monkeypatch.setitem(ARTEFACTS, name, simple(name))
    return found


def failing(*errors: Exception) -> Callable[..., float]:
    left = iter(errors)

    def fails(*_: Any) -> float:
        for error in left:
            raise error
        return 1.0

    return fails


def test_there_is_every_table_and_figure() -> None:
    assert list(ARTEFACTS) == [*TABLES, "rate", *FIGURES, "bounds", "thresholds", "claims"]
    assert [name for name, artefact in ARTEFACTS.items() if artefact.has_figure] == FIGURES


def test_names_come_in_the_papers_order_and_all_is_everything() -> None:
    assert list(chosen(["fig4", "table2", "fig4"], SCALES["smoke"])[0]) == ["table2", "fig4"]
    assert list(chosen(["all"], SCALES["smoke"])[0]) == [*TABLES, "rate", *FIGURES, "claims"]
    assert list(chosen(["all"], SCALES["full"])[0]) == ["table1", "table2", "table3", "bounds", "claims"]
    with pytest.raises(
        UsageError, match=r'no table or figure \'tabel1\'; did you mean "table1"\? choose one of table1'
    ):
        chosen(["tabel1"], SCALES["smoke"])


@pytest.mark.parametrize("scale", SCALES)
def test_everything_can_be_planned_at_every_scale_for_every_network(scale: str, tmp_path: Path) -> None:
    """Also for one network alone, where some pages cannot be made (B4)."""
    every = SCALES[scale].with_seeds(1)
    every = every.with_sources(dict.fromkeys({every.source(name) for name in every.networks}, "digits"))
    needs, _ = chosen(["all"], every)
    assert list(needs) == all_of(every)
    study = study_in(tmp_path / "study", every)
    assert plan_parts(study, needs)["table2"]
    for network in every.networks:
        needs, impossible = chosen(["all"], every.only([network]))
        assert sorted([*needs, *impossible]) == sorted(all_of(every))
        assert ("table2" in impossible) == (network == "vgg5-mnist")
        assert ("fig4" in needs) == (network == "vgg11-cifar100" and "fig4" in all_of(every))
        assert ("fig5a" in needs) == (network == "vgg5-mnist")
    assert not study.root.exists()


def test_pages_without_their_network_are_left_out_of_all_and_refused_alone(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]]
) -> None:
    needed["table1"] = []
    written = reproduce(study, ["table1", "table2"], tmp_path, command="")
    assert [path.name for path in written] == ["table2.md", "table2.csv", "runs.csv", "index.md"]
    with pytest.raises(
        UsageError, match="fig4: scale smoke has no network or no black box for it; its networks are vgg5"
    ):
        reproduce(study, ["fig4"], tmp_path, command="")


def test_the_index_lists_and_shows_every_page_of_the_folder(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]]
) -> None:
    reproduce(study, ["table1"], tmp_path, command="first")
    (tmp_path / "fig4.md").touch()
    written = reproduce(study, ["table2"], tmp_path, command="hiresnn reproduce table2")
    assert [path.name for path in written] == ["table2.md", "table2.csv", "runs.csv", "index.md"]
    text = (tmp_path / "index.md").read_text()
    assert "`hiresnn reproduce table2`" in text
    assert "Scale smoke." in text
    assert 'src="table1.svg"' not in text
    assert text.index("- [table1](table1.md): ANN, ") < text.index("[table2](table2.md)") < text.index('src="fig4.svg"')
    assert (tmp_path / "table2.md").read_text().startswith(f"# table2: {ARTEFACTS['table2'].title}\n")


def test_one_that_fails_does_not_stop_the_others(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEASURE, "cost", failing(NotFiniteError("the loss is nan.")))
    with pytest.raises(RunError, match=r"1 of 2 artefacts failed, table1 first: the loss is nan\."):
        reproduce(study, ["table1", "table2"], tmp_path, command="")
    assert "[table2]" in (tmp_path / "index.md").read_text()
    monkeypatch.setitem(MEASURE, "cost", failing(*[NotFiniteError("no.")] * 3))
    with pytest.raises(NotFiniteError):
        reproduce(study, ["table1"], tmp_path, command="")


def test_a_figure_without_matplotlib_is_refused_before_anything_is_trained(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_all, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hiresnn\[paper\]'"):
        reproduce(study, ["fig8a"], tmp_path / "out", command="")
    assert not (tmp_path / "out").exists()
    reproduce(study, ["table1"], tmp_path / "out", command="")


def test_shared_work_is_planned_once(study: Study) -> None:
    hire, traditional = (accuracy(VGG5, method).each(study.scale) for method in ("hire", "traditional"))
    parts = plan_parts(study, {"table1": hire, "table2": [*hire, *traditional]})
    assert {name: [job.kind for job in jobs] for name, jobs in parts.items()} == {
        "table1": ["ann", "hire", "measure"],
        "table2": ["traditional", "measure"],
    }


def test_a_plan_reads_as_counts_and_hours() -> None:
    task = Measurement("cost")
    first = [Job("a-ann", "ann", 3600, task), Job("a-hire", "hire", 5400, task, ("a-ann",))]
    lines = plan_text({"table1": first, "fig4": [Job("accuracy-1", "measure", 1800, task)]}, "two cores").splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["ANNs", "SNNs", "values", "hours"],
        ["table1", "1", "1", "0", "2.50"],
        ["fig4", "0", "0", "1", "0.50"],
        ["total", "1", "1", "1", "3.00"],
    ]
    assert lines[5:7] == ["a-ann  1 h 00 min", "a-hire  1 h 30 min"]
    assert lines[-1] == "Estimated for two cores, one job after the other. Nothing was trained."


def test_seeds_are_the_scales_or_the_first_ones() -> None:
    def seeds(count: int | None) -> tuple[Any, ...]:
        scale = scale_of("cpu", seeds=count, sources={})
        return scale.seeds_of(VGG5), scale.seeds_of("vgg11-cifar100"), scale.seeds_of(VGG5, "rate")

    assert seeds(None) == ((0, 1, 2), (0,), (0,))
    assert seeds(2) == ((0, 1), (0, 1), (0, 1))
    with pytest.raises(UsageError, match="scale is 'tiny'; choose one of smoke, cpu, paper, mid, full"):
        scale_of("tiny", seeds=None, sources={})


def test_a_partial_page_has_what_is_measured_and_trains_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = accuracy(VGG5, "hire").each(study.scale) + accuracy(VGG5, "hire", "fgsm").each(study.scale)
    study.put(wanted[0], 71.25, 1.0)
    study.put(wanted[1], 12.5, 1.0)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(run_all, "do", forbidden)
    out = tmp_path / "out"
    written = reproduce(study, ["table2", "fig8b", "table6"], out, command="", partial=True)
    assert [path.name for path in written] == ["table2.md", "table2.csv", "table2-2.csv", "runs.csv", "index.md"]
    text = (out / "table2.md").read_text()
    assert "Not finished: 6 of 8 values are not measured yet, and left out here." in text
    assert "\n- Measured: 2 values on " in text
    row = next(line for line in text.splitlines() if line.startswith("| VGG5"))
    assert "| 87.5 | 71.3 |" in row
    assert row.count("n/a") == 4
    # what shows more than accuracies is written whole or not at all
    operations = ARTEFACTS["table6"].needs(study.scale)[0].each(study.scale)[0]
    study.put(operations, {"layers": [], "timesteps": 4}, 1.0)
    assert len(reproduce(study, ["table6", "table2"], out, command="", partial=True)) == 5


def test_command_lines_are_stored_beside_earlier_ones(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]]
) -> None:
    for name, method in (("table1", "hire"), ("table2", "ann")):
        needed[name] = [accuracy(VGG5, method)]
        reproduce(study, [name], tmp_path, command="", partial=True)
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["run"].rpartition("-")[0] for row in rows] == ["vgg5-cifar10-ann-seed0", "vgg5-cifar10-hire-seed0"]
    assert rows[1]["command"].startswith("hiresnn train digits --method hire --seed 0 --data digits --set ")
    assert {row["read from"] for row in rows} == {""}  # nothing was trained or measured


def test_the_list_of_networks_says_what_trained_each_or_else_what_measured_it_first(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]]
) -> None:
    hire, ann = accuracy(VGG5, "hire"), accuracy(VGG5, "ann")
    for measurement in (hire, ann, replace(hire, attack="fgsm")):
        study.put(measurement.each(study.scale)[0], 50.0, 1.0)
    folder = study.path(ann.each(study.scale)[0].runs()[0])
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(
        '{"cpu": "Z80", "hiresnn": "0.0.1", "torch": "1.0", "date": "1976-07-01T00:00:00+00:00"}'
    )
    needed["table2"] = [hire, ann]
    reproduce(study, ["table2"], tmp_path, command="", partial=True)
    reproduce(study, ["table2"], tmp_path, command="", partial=True)
    (first, second) = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    trained = {"processor": "Z80", "hiresnn": "0.0.1", "torch": "1.0", "date": "1976-07-01", "read from": "training"}
    assert first.items() >= {**trained, "semantics": str(SEMANTICS)}.items()
    here = environment()
    assert second.items() >= {"processor": here["cpu"], "hiresnn": here["hiresnn"], "read from": "measurement"}.items()


def test_values_of_two_trainings_of_one_network_are_named(
    study: Study, tmp_path: Path, needed: dict[str, list[Measurement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hire = accuracy(VGG5, "hire")
    study.put(hire.each(study.scale)[0], 50.0, 1.0)
    monkeypatch.setattr(study_module, "environment", lambda: {**environment(), "cpu": "Z80"})
    study.put(replace(hire, attack="fgsm").each(study.scale)[0], 50.0, 1.0)
    needed["table2"] = [hire, replace(hire, attack="fgsm")]
    reproduce(study, ["table2"], tmp_path, command="", partial=True)
    name = study.name(hire.each(study.scale)[0].run)
    assert "trained more than once, on other processors" in (tmp_path / "table2.md").read_text()
    assert f"not all of one training: {name}." in (tmp_path / "table2.md").read_text()
    (row,) = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    assert row["processor"] == f"{environment()['cpu']}; Z80"


def test_the_full_scale_runs_to_its_end_and_continues_what_is_there(
    tiny: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan and the pages of `--scale full`, with networks of a second."""
    setting = replace(tiny.networks[VGG5], seeds=1, rate_seeds=0)
    scale = replace(SCALES["full"], networks={VGG5: setting}, images=20, eps=("1/255", "8/255"))
    study = study_in(tmp_path / "study", scale)
    trained: list[str] = []

    def stopped(study: Study, task: Any) -> None:
        trained.append(getattr(task, "method", ""))
        if len(trained) == 4:
            raise KeyboardInterrupt
        do(study, task)

    with monkeypatch.context() as patched:
        patched.setattr(run_all, "do", stopped)
        with pytest.raises(KeyboardInterrupt):
            reproduce(study, ["all"], tmp_path / "out", command="")
    kinds = Counter(job.kind for job in plan(study, chosen(["all"], scale)[0]["claims"]))
    assert (kinds["ann"], kinds["rate"]) == (0, 0)
    assert kinds["traditional"] + kinds["hire"] == 4 - sum(each in ("traditional", "hire") for each in trained[:3])
    written = reproduce(study, ["all"], tmp_path / "out", command="")
    names = [path.name for path in written if path.suffix == ".md"]
    assert names == ["table1.md", "table2.md", "table3.md", "bounds.md", "claims.md", "index.md"]
    rows = list(csv.DictReader((tmp_path / "out" / "bounds.csv").read_text().splitlines()))
    assert [(row["method"], row["box"][:9]) for row in rows] == [
        ("ANN", "white box"), ("traditional SNN", "white box"), ("traditional SNN", "black box"),
        ("HIRE-SNN", "white box"), ("HIRE-SNN", "black box"),
    ]  # fmt: skip
    assert all(row["PGD 1/255, ours"] and row["FGSM, ours"] for row in rows)


def test_the_smoke_table_of_hire_snn_has_its_golden_values(tmp_path: Path) -> None:
    """Table 2 of the smoke scale, as version one printed it; another processor trains networks that differ a little."""
    study = study_in(tmp_path / "study", SCALES["smoke"].only([VGG5]))
    reproduce(study, ["table2"], tmp_path, command="")
    own = next(csv.DictReader((tmp_path / "table2.csv").read_text().splitlines()))
    gains = next(csv.DictReader((tmp_path / "table2-2.csv").read_text().splitlines()))
    golden = {"clean": 82, "clean over traditional SNN": -6, "FGSM": 45, "PGD": 22}
    assert {name: float(own[f"{name}, ours"]) for name in golden} == pytest.approx(golden, abs=8)

    def measured(method: str, attack: str) -> float:
        (value,) = (study.find(each) for each in accuracy(VGG5, method, attack).each(study.scale))
        assert value is not None
        return float(value.value)

    for attack in ("FGSM", "PGD"):
        for method, name in (("traditional", "traditional SNN"), ("ann", "ANN")):
            gain = measured("hire", attack.lower()) - measured(method, attack.lower())
            assert float(gains[f"{attack} over {name}, ours"]) == pytest.approx(gain, abs=0.05)
