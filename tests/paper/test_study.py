"""The engine: runs and figures are named after what decides them, made once, found again, and can be planned."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiresnn.errors import RunError, UsageError
from hiresnn.paper import study as engine
from hiresnn.paper.plan import Unmeasured, waves
from hiresnn.paper.scales import Scale
from hiresnn.paper.study import Study
from hiresnn.progress import Progress
from hiresnn.runs import trainer
from hiresnn.runs.evaluate import evaluate
from hiresnn.runs.folder import MODEL, RunFolder
from hiresnn.runs.recipe import override, read

VGG5 = "vgg5-cifar10"


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was to cost nothing")


def name(study: Study, method: str, seed: int = 0, **changes: Any) -> str:
    """The folder's name of a run that is not trained."""
    names: list[str] = []
    study.plan([lambda planned: names.append(planned.run(VGG5, method, seed, **changes).name)])
    return names[0]


@pytest.fixture(scope="module")
def trained(tiny: Scale, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with a traditional run and both of its twins. Read only."""
    study = Study(tiny, root=tmp_path_factory.mktemp("trained"), seeds=(0,), sources={}, progress=Progress(quiet=True))
    for twin in (None, "same-ann", "independent"):
        study.run(VGG5, "traditional", 0, twin=twin)
    return study


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ann", {"snn__timesteps": "4", "conversion__threshold_scale": "1.0", "noise__step": "0.1"}),
        ("traditional", {"noise__step": "0.1", "noise__periods": "1"}),
        ("rate", {"noise__step": "0.1"}),
        ("hire", {"attack__eps": "0.1", "attack__iterations": "3"}),
    ],
)
def test_what_does_not_matter_to_a_method_does_not_change_its_run(
    study: Study, method: str, changes: dict[str, str]
) -> None:
    assert name(study, method, **changes) == name(study, method)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("hire", {"noise__step": "0.1"}),
        ("hire", {"snn__train_neurons": "false"}),
        ("traditional", {"snn__timesteps": "3"}),
        ("traditional", {"twin": "same-ann"}),
        ("ann", {"ann__epochs": "3"}),
        ("ann", {"twin": "independent"}),
    ],
)
def test_what_matters_changes_the_run(study: Study, method: str, changes: dict[str, str]) -> None:
    assert name(study, method, **changes) != name(study, method)


def test_a_changed_value_that_is_the_recipes_own_is_the_same_run(study: Study) -> None:
    own = study.recipe(VGG5, "hire", 0)
    assert name(study, "hire", noise__step=str(own.noise.step)) == name(study, "hire")


def test_the_content_of_the_data_decides_and_not_its_place(tiny: Scale, tmp_path: Path) -> None:
    def written(path: Path, level: int) -> Path:
        images, labels = np.full((20, 8, 8), level, np.uint8), np.arange(20) % 10
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return path

    def named(path: Path) -> str:
        sources = {"digits": str(path)}
        study = Study(tiny, root=tmp_path, seeds=(0,), sources=sources, progress=Progress(quiet=True))
        assert study.recipe(VGG5, "ann", 0).data.source == str(path)
        return name(study, "ann")

    first, other = written(tmp_path / "first.npz", 7), written(tmp_path / "other.npz", 8)
    moved = Path(shutil.copy(first, tmp_path / "moved.npz"))
    assert named(first) == named(moved)
    assert named(first) != named(other)


def test_a_twin_shares_the_ann_or_nothing(study: Study) -> None:
    seeds = {
        twin: (recipe.seed, recipe.ann_seed)
        for twin in (None, "same-ann", "independent")
        for recipe in [study.recipe(VGG5, "hire", 3, twin=twin)]
    }
    assert seeds == {None: (3, 3), "same-ann": (1003, 3), "independent": (4, 4)}
    with pytest.raises(UsageError, match="no twin from the same ANN"):
        study.recipe(VGG5, "ann", 3, twin="same-ann")


def test_the_rate_coded_network_has_its_own_long_t(study: Study) -> None:
    assert study.recipe(VGG5, "rate", 0).snn.timesteps == 4
    assert study.recipe(VGG5, "traditional", 0).snn.timesteps == 2


def test_a_command_line_trains_the_same_network(study: Study) -> None:
    asked = [("hire", None, {"snn__epochs": "1"}), ("rate", "same-ann", {}), ("traditional", "independent", {})]
    for method, twin, changes in asked:
        words = shlex.split(study.commands[name(study, method, twin=twin, **changes)])
        assert words[:2] == ["hiresnn", "train"]
        given = dict(zip(words[3:9:2], words[4:9:2], strict=True))
        values = dict(word.split("=", 1) for word in words[10::2])
        values |= {"method": given["--method"], "seed": given["--seed"], "data.source": f'"{given["--data"]}"'}
        expected = study.recipe(VGG5, method, 0, twin=twin, **changes)
        assert override(read(words[2]), values).model_copy(update={"name": VGG5}) == expected


def test_an_interrupted_run_goes_on_to_the_same_weights_wherever_its_data_are_by_now(
    trained: Study, tiny: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    real = trainer.train_epoch

    def dying(*given: Any, **named: Any) -> Any:
        epochs.append(1)
        if len(epochs) == 4:  # two epochs of the ANN, one of the SNN
            raise KeyboardInterrupt
        return real(*given, **named)

    study = Study(tiny, root=tmp_path, seeds=(0,), sources={}, progress=Progress(quiet=True))
    monkeypatch.setattr(trainer, "train_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        study.run(VGG5, "traditional", 0)
    (begun,) = (tmp_path / "runs").glob("vgg5*/recipe.toml")
    begun.write_text(begun.read_text().replace('source = "digits"', 'source = "elsewhere.npz"'))
    run = study.run(VGG5, "traditional", 0)
    assert RunFolder.open(run).recipe.data.source == "digits"
    assert len(epochs) == 5  # the interrupted epoch alone was trained again
    assert (run / MODEL).read_bytes() == (trained.root / "runs" / run.name / MODEL).read_bytes()


def test_what_is_there_costs_nothing(trained: Study, tiny: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained.accuracy(VGG5, "traditional", 0, "pgd", box="same-ann")
    monkeypatch.setattr(engine, "train", forbidden)
    monkeypatch.setattr(engine, "load", forbidden)
    monkeypatch.setattr("hiresnn.paper.images.data.load", forbidden)
    again = Study(tiny, root=trained.root, seeds=(0,), sources={}, progress=Progress(quiet=True))
    assert again.accuracy(VGG5, "traditional", 0, "pgd", box="same-ann") == first
    # The recipe's own settings in words are the same attack.
    attack = again.recipe(VGG5, "traditional", 0).attack
    text = f"pgd:iterations={attack.iterations},eps={attack.eps}"
    assert again.accuracy(VGG5, "traditional", 0, text, box="same-ann") == first


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd:eps=8/255"])
def test_accuracies_are_those_of_hiresnn_evaluate(trained: Study, tmp_path: Path, attack: str) -> None:
    runs = {twin: trained.run(VGG5, "traditional", 0, twin=twin) for twin in (None, "same-ann", "independent")}
    copy = tmp_path / "run"  # evaluate writes into its run
    shutil.copytree(runs[None], copy)
    found = evaluate(
        copy,
        attacks=[attack],
        twins=[runs["same-ann"], runs["independent"]],
        limit=20,
        progress=Progress(quiet=True),
    )
    (entry,) = found["attacks"].values()
    assert trained.accuracy(VGG5, "traditional", 0) == found["clean"]
    assert trained.accuracy(VGG5, "traditional", 0, attack) == entry["white_box"]
    for box in ("same-ann", "independent"):
        assert trained.accuracy(VGG5, "traditional", 0, attack, box=box) == entry["twins"][box]


def test_the_rate_coded_network_is_attacked_over_draws_and_repeats(study: Study, tiny: Scale, tmp_path: Path) -> None:
    first = study.accuracy(VGG5, "rate", 0, "pgd")
    kept = next((study.root / "measured").glob("accuracy-*.json"))
    assert '"draws": 2' in kept.read_text()
    kept.unlink()
    torch.rand(7)  # the caller's own draws do not matter
    assert study.accuracy(VGG5, "rate", 0, "pgd") == first


def test_a_figure_is_made_once_and_read_as_json(study: Study) -> None:
    calls: list[int] = []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"pair": (1, 2.5)}

    assert study.measured({"what": "pair", "n": 1}, work) == {"pair": [1, 2.5]}
    assert study.measured({"n": 1, "what": "pair"}, work) == {"pair": [1, 2.5]}
    assert len(calls) == 1
    study.measured({"what": "pair", "n": 2}, work)
    assert len(calls) == 2


def test_a_figure_draws_the_same_whatever_came_before(study: Study) -> None:
    def draw() -> float:
        return float(torch.rand(()))

    first = study.measured({"what": "draw", "n": 1}, draw)
    shutil.rmtree(study.root / "measured")
    study.measured({"what": "draw", "n": 2}, draw)
    assert study.measured({"what": "draw", "n": 1}, draw) == first


def test_a_damaged_figure_is_made_anew_and_one_that_is_not_finite_is_refused(study: Study) -> None:
    study.measured({"what": "one"}, lambda: 1)
    next((study.root / "measured").glob("one-*.json")).write_text('{"value"')
    assert study.measured({"what": "one"}, lambda: 2) == 2
    with pytest.raises(RunError, match="not finite"):
        study.measured({"what": "bad"}, lambda: float("nan"))


def test_a_plan_trains_nothing_and_doing_it_leaves_nothing_to_do(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def artefact(at: Study) -> None:
        at.accuracy(VGG5, "traditional", 0, "fgsm", box="same-ann")
        run = at.run(VGG5, "traditional", 0)
        at.measured({"what": "size", "of": [run.name]}, lambda: (run / MODEL).stat().st_size, seconds=5)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "train", forbidden)
        patched.setattr("hiresnn.paper.images.data.load", forbidden)
        jobs = study.plan([artefact, artefact])
    assert not study.root.exists()
    assert [job.kind for job in jobs] == ["ann", "traditional", "traditional", "measure", "measure"]
    ann, run, twin, accuracy, size = jobs
    assert run.needs == twin.needs == (ann.name,)
    assert accuracy.needs == (run.name, twin.name)
    assert size.needs == (run.name,)
    assert size.seconds == 5
    assert all(job.seconds > 0 for job in jobs)

    groups = waves(jobs)
    assert [len(group) for group in groups] == [1, 2, 2]
    for group in groups:
        for job in reversed(group):  # independent of each other: any order will do
            job.do()
    assert study.plan([artefact]) == []
    (study.run(VGG5, "traditional", 0) / MODEL).unlink()
    left = study.plan([artefact])
    assert [(job.kind, job.needs) for job in left] == [("traditional", ())]  # its ANN is still there


def test_a_plan_gives_a_stand_in_for_what_nobody_has_measured(study: Study) -> None:
    seen: list[Any] = []

    def artefact(at: Study) -> None:
        seen.append(at.measured({"what": "a"}, forbidden))
        seen.append(at.measured({"what": "b"}, forbidden, like=[1.0]))

    study.plan([artefact])
    assert isinstance(seen[0], Unmeasured)
    assert seen[1] == [1.0]


def test_a_plan_that_fails_leaves_the_study_as_it_was(study: Study) -> None:
    def failing(_: Study) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        study.plan([failing])
    assert study.measured({"what": "real"}, lambda: 1) == 1


def test_a_network_takes_as_many_seeds_as_its_setting_allows(tiny: Scale, tmp_path: Path) -> None:
    setting = replace(tiny.networks[VGG5], seeds=2, rate_seeds=1)
    scale = replace(tiny, networks={VGG5: setting})
    study = Study(scale, root=tmp_path, seeds=(0, 1, 2), sources={}, progress=Progress(quiet=True))
    assert study.over_seeds(lambda seed: 10.0 * seed, VGG5, "hire").values == (0.0, 10.0)
    assert study.over_seeds(lambda seed: 10.0 * seed, VGG5, "rate").values == (0.0,)
    assert study.over_seeds(lambda seed: 10.0 * seed).values == (0.0, 10.0, 20.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda study: study.run("vgg6-cifar10", "hire", 0), "has no network 'vgg6-cifar10'; it has vgg5-cifar10"),
        (lambda study: study.accuracy(VGG5, "hire", 0, "pgd", box="grey"), "box is 'grey'; choose one of white"),
        (lambda study: study.recipe(VGG5, "hire", 0, twin="brother"), "twin is 'brother'; choose one of same-ann"),
    ],
)
def test_a_wrong_name_is_one_sentence(study: Study, wrong: Callable[[Study], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        wrong(study)


def test_data_that_the_scale_does_not_ask_for_are_refused(tiny: Scale, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scale smoke has no data of that name; it has digits"):
        Study(tiny, root=tmp_path, seeds=(0,), sources={"cifar10": "x.npz"}, progress=Progress(quiet=True))
