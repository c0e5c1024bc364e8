"""Several artefacts after each other: chosen by name, planned without double counting, written as they come."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiresnn.errors import NotFiniteError, RunError, UsageError
from hiresnn.paper import reproduce as module
from hiresnn.paper.artefact import ARTEFACTS, Artefact, Entry, Table
from hiresnn.paper.plan import Job
from hiresnn.paper.reproduce import chosen, plan, plan_text, reproduce, study_of
from hiresnn.paper.scales import Scale
from hiresnn.paper.study import Study
from hiresnn.progress import Progress

from .conftest import study_in


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Artefact -> what making it does; those not named here give one small table."""
    given: dict[str, Any] = {}

    def make(entry: Entry, study: Study) -> Artefact:
        if isinstance(act := given.get(entry.function), Exception):
            raise act
        if act is not None:
            act(study)
        return Artefact(entry.function, entry.title, [Table("caption", ["a"], [["b"]])])

    monkeypatch.setattr(Entry, "__call__", make)
    return given


def test_names_come_in_the_papers_order_and_all_is_everything() -> None:
    assert chosen(["fig4", "table2", "fig4"]) == ["table2", "fig4"]
    assert chosen(["all"]) == list(ARTEFACTS)


def test_a_misspelt_name_says_what_there_is() -> None:
    with pytest.raises(UsageError, match=r'no table or figure \'tabel1\'; did you mean "table1"\? known are table1'):
        chosen(["tabel1"])


def test_files_and_an_index_of_all_that_is_there(study: Study, tmp_path: Path, made: dict[str, Any]) -> None:
    reproduce(study, ["table1"], tmp_path, command="first")
    written = reproduce(study, ["table2"], tmp_path, command="hiresnn reproduce table2")
    assert [path.name for path in written] == ["table2.md", "table2.csv", "runs.csv", "index.md"]
    text = (tmp_path / "index.md").read_text()
    assert "`hiresnn reproduce table2`" in text
    assert "Scale smoke." in text
    assert text.index("[table1](table1.md)") < text.index("[table2](table2.md)")


def test_one_that_fails_does_not_stop_the_others(study: Study, tmp_path: Path, made: dict[str, Any]) -> None:
    made["table1"] = NotFiniteError("the loss is nan.")
    with pytest.raises(RunError, match=r"1 of 2 artefacts failed, table1 first: the loss is nan\."):
        reproduce(study, ["table1", "table2"], tmp_path, command="")
    assert "[table2]" in (tmp_path / "index.md").read_text()
    with pytest.raises(NotFiniteError):
        reproduce(study, ["table1"], tmp_path, command="")
    made["table2"] = NotFiniteError("so is this one.")
    with pytest.raises(RunError, match="2 of 2 artefacts failed"):
        reproduce(study, ["table1", "table2"], tmp_path / "new", command="")


def test_a_figure_without_matplotlib_is_refused_before_anything_is_trained(
    study: Study, tmp_path: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install -e '\.\[paper\]'"):
        reproduce(study, ["fig4"], tmp_path / "out", command="")
    assert not (tmp_path / "out").exists()
    reproduce(study, ["table1"], tmp_path / "out", command="")


def test_shared_work_is_planned_once(study: Study, made: dict[str, Any]) -> None:
    made["table1"] = lambda at: at.run("vgg5-cifar10", "hire", 0)
    made["table2"] = lambda at: [at.run("vgg5-cifar10", method, 0) for method in ("hire", "traditional")]
    parts = plan(study, ["table1", "table2"])
    assert {name: [job.kind for job in jobs] for name, jobs in parts.items()} == {
        "table1": ["ann", "hire"],
        "table2": ["traditional"],
    }


def test_a_plan_reads_as_counts_and_hours() -> None:
    first = [Job("ann-a", "ann", 3600), Job("a-ann", "copy", 0, ("ann-a",)), Job("a-hire", "hire", 5400, ("ann-a",))]
    lines = plan_text({"table1": first, "fig4": [Job("accuracy-1", "measure", 1800)]}, "two cores").splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["ANNs", "SNNs", "figures", "hours"],
        ["table1", "1", "1", "0", "2.50"],
        ["fig4", "0", "0", "1", "0.50"],
        ["total", "1", "1", "1", "3.00"],
    ]
    assert lines[5:7] == ["ann-a  1 h 00 min", "a-hire  1 h 30 min"]
    assert lines[-1] == "Estimated for two cores, one job after the other. Nothing was trained."


def test_seeds_are_the_scales_or_the_first_so_many(tmp_path: Path) -> None:
    def seeds(count: int | None) -> tuple[Any, ...]:
        study = study_of("cpu", root=tmp_path, seeds=count, sources={}, progress=Progress(quiet=True))
        return study.seeds_of("vgg5-cifar10"), study.seeds_of("vgg11-cifar100"), study.seeds_of("vgg5-cifar10", "rate")

    assert seeds(None) == ((0, 1, 2), (0,), (0,))
    assert seeds(2) == ((0, 1), (0, 1), (0, 1))
    with pytest.raises(UsageError, match="scale is 'tiny'; choose one of smoke, cpu, paper"):
        study_of("tiny", root=tmp_path, seeds=None, sources={}, progress=Progress(quiet=True))


def test_another_scale_does_not_find_this_scales_figures(study: Study) -> None:
    more = Study(
        replace(study.scale, images=10), root=study.root, seeds=(0,), sources={}, progress=Progress(quiet=True)
    )

    def clean(at: Study) -> float:
        return at.accuracy("vgg5-cifar10", "ann", 0)

    clean(study)
    assert study.plan([clean]) == []
    assert [job.kind for job in more.plan([clean])] == ["measure"]


def test_partly_measured_what_there_is_is_written_and_nothing_is_trained(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = study.accuracy("vgg5-cifar10", "hire", 0)
    study.accuracy("vgg5-cifar10", "hire", 0, "fgsm")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be trained")

    monkeypatch.setattr("hiresnn.paper.study.train", forbidden)
    out = tmp_path / "out"
    written = reproduce(study, ["table2", "fig8b"], out, command="", partial=True)
    assert [path.name for path in written] == ["table2.md", "table2.csv", "table2-2.csv", "runs.csv", "index.md"]
    page = (out / "table2.md").read_text()
    # HIRE's clean accuracy and that under FGSM, which the table needs three times, are there
    assert "Not finished: 6 of 8 figures are not measured yet, and n/a here." in page
    row = next(line for line in page.splitlines() if line.startswith("| VGG5"))
    assert f"| 87.5 | {clean:.1f} |" in row
    assert row.count("n/a") == 4
    assert not (out / "fig8b.md").exists()


def test_what_shows_more_than_accuracies_is_written_whole_or_not_at_all(
    study: Study, tmp_path: Path, made: dict[str, Any]
) -> None:
    made["table7"] = made["table2"] = lambda at: [at.measured({"what": what}, dict) for what in ("there", "missing")]
    study.measured({"what": "there"}, dict)
    written = reproduce(study, ["table2", "table7"], tmp_path, command="", partial=True)
    assert [path.name for path in written] == ["table2.md", "table2.csv", "runs.csv", "index.md"]
    assert "\n- Measured: 1 figure on " in (tmp_path / "table2.md").read_text()
    study.measured({"what": "missing"}, dict)
    assert "table7.md" in [path.name for path in reproduce(study, ["table7"], tmp_path, command="", partial=True)]


@pytest.mark.parametrize("name", ["table6", "table7", "fig3", "fig10a"])
def test_a_half_measured_study_can_be_planned(tiny: Scale, tmp_path: Path, name: str) -> None:
    setting = {"vgg5-cifar10": replace(tiny.networks["vgg5-cifar10"], seeds=2, rate_seeds=2)}
    study = study_in(tmp_path, replace(tiny, networks=setting, analysed=10), seeds=(0, 1))
    artefact = ARTEFACTS[name]
    whole = len(study.plan([artefact]))
    jobs = study.plan([artefact])
    figures = [job for job in jobs if job.kind == "measure"]
    for job in [job for job in jobs if job.kind != "measure"]:
        job.do()
    for job in figures[1::2]:  # by name, as a worker does: the later seeds of some, the first of others
        job.do()
    assert 0 < len(study.plan([artefact])) < whole
    made, plan = study.partly(artefact)
    assert made.tables
    assert set(plan.found) == {job.name for job in figures[1::2]}


def test_the_command_lines_of_all_networks_are_kept_beside_earlier_ones(
    study: Study, tmp_path: Path, made: dict[str, Any]
) -> None:
    for name, method in (("table1", "hire"), ("table2", "ann")):
        made[name] = lambda at, method=method: at.plan([lambda study: study.run("vgg5-cifar10", method, 0)])
        reproduce(study, [name], tmp_path, command="")
        study.commands.clear()
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["run"].rpartition("-")[0] for row in rows] == ["vgg5-cifar10-ann-seed0", "vgg5-cifar10-hire-seed0"]
    assert rows[1]["command"].startswith("hiresnn train digits --method hire --seed 0 --data digits --set ")
