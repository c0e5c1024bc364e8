"""Runs and values are named after what decides them, made once and found again; a plan is what is missing."""

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hiresnn.analysis import SpikingActivity
from hiresnn.app.evaluate import evaluate
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.recipe import SEMANTICS, override, read
from hiresnn.errors import RunError, UsageError
from hiresnn.network import SpikingNetwork, record
from hiresnn.training import Training
from reproduction import distances, measuring
from reproduction import study as module
from reproduction.energy_rows import BITS
from reproduction.measurements import Measurement, Run, accuracy
from reproduction.measuring import measure
from reproduction.plan import plan
from reproduction.run_all import do
from reproduction.scales import SCALES, Scale, Setting
from reproduction.study import Study

from .conftest import study_in

VGG5 = "vgg5-cifar10"


def run(method: str, seed: int = 0, twin: str | None = None, **changes: str) -> Run:
    return Run(VGG5, method, seed, twin, tuple((key.replace("__", "."), text) for key, text in changes.items()))


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("this must not be called")


def value(study: Study, wanted: Measurement) -> Any:
    """A value with everything that it needs, as a reproduction makes it."""
    for job in plan(study, wanted.each(study.scale)):
        do(study, job.task)
    return measure(study, wanted.each(study.scale)[0]).value


@pytest.fixture(scope="module")
def trained(tiny: Scale, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with a traditional run, its ANN, and both twins."""
    study = study_in(tmp_path_factory.mktemp("trained"), tiny)
    for wanted in (run("ann"), *(run("traditional", twin=twin) for twin in (None, "same-ann", "independent"))):
        study.train(wanted)
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
def test_changes_that_do_not_matter_to_a_method_do_not_rename_its_run(
    study: Study, method: str, changes: dict[str, str]
) -> None:
    assert study.name(run(method, **changes)) == study.name(run(method))


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
def test_changes_that_matter_rename_the_run(study: Study, method: str, changes: dict[str, str]) -> None:
    assert study.name(run(method, **changes)) != study.name(run(method))


def test_a_changed_value_that_is_the_recipes_own_is_the_same_run(study: Study) -> None:
    own = study.scale.recipe(run("hire")).noise.step
    assert study.name(run("hire", noise__step=str(own))) == study.name(run("hire"))


def test_the_version_of_the_semantics_renames_runs_and_values(
    study: Study, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = accuracy(VGG5, "hire").each(tiny)[0]
    before = study.name(run("hire")), study.file_name(wanted)
    monkeypatch.setattr("hiresnn.app.recipe.SEMANTICS", 99)
    other = study_in(study.root, tiny)
    assert other.name(run("hire")) != before[0]
    assert other.file_name(wanted) != before[1]


def test_the_content_of_the_data_decides_and_not_its_place(tiny: Scale, tmp_path: Path) -> None:
    def written(path: Path, level: int) -> Path:
        images, labels = np.full((20, 8, 8), level, np.uint8), np.arange(20) % 10
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return path

    def named(path: Path) -> str:
        scale = tiny.with_sources({"digits": str(path)})
        assert scale.recipe(run("ann")).data.source == str(path)
        return study_in(tmp_path, scale).name(run("ann"))

    first, other = written(tmp_path / "first.npz", 7), written(tmp_path / "other.npz", 8)
    moved = Path(shutil.copy(first, tmp_path / "moved.npz"))
    assert named(first) == named(moved)
    assert named(first) != named(other)


def test_an_ann_on_other_data_is_still_planned(tmp_path: Path) -> None:
    """One network's ANN does not count as that of another data set, though their recipes agree (D12)."""

    def written(path: Path, level: int) -> str:
        images, labels = np.full((20, 8, 8), level, np.uint8), np.arange(20) % 10
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return str(path)

    tiny = SCALES["smoke"].networks[VGG5]
    small = Setting(recipe="resnet12-cifar10", changes=(*tiny.changes, ("model.name", '"resnet12"')))
    networks = {"resnet12-cifar10": small, "resnet12-cifar100": replace(small, recipe="resnet12-cifar100")}
    sources = {"cifar10": written(tmp_path / "ten.npz", 1), "cifar100": written(tmp_path / "hundred.npz", 2)}
    study = study_in(tmp_path, replace(SCALES["smoke"], networks=networks, sources=sources))
    wanted = [accuracy(network, "traditional").each(study.scale)[0] for network in networks]
    assert [job.kind for job in plan(study, wanted)] == ["ann", "traditional", "measure"] * 2
    ann = study.path(Run("resnet12-cifar10", "ann", 0))
    ann.mkdir(parents=True)
    (ann / MODEL).touch()
    assert [job.kind for job in plan(study, wanted)] == ["traditional", "measure", "ann", "traditional", "measure"]


def test_a_twin_shares_the_ann_or_nothing(tiny: Scale) -> None:
    seeds = {
        twin: (recipe.seed, recipe.ann_seed)
        for twin in (None, "same-ann", "independent")
        for recipe in [tiny.recipe(run("hire", 3, twin))]
    }
    assert seeds == {None: (3, 3), "same-ann": (1003, 3), "independent": (4, 4)}
    with pytest.raises(UsageError, match="no twin from the same ANN"):
        tiny.recipe(run("ann", 3, "same-ann"))


def test_the_rate_coded_network_has_its_own_long_t(tiny: Scale) -> None:
    assert tiny.recipe(run("rate")).snn.timesteps == 4
    assert tiny.recipe(run("traditional")).snn.timesteps == 2


def test_a_command_line_trains_the_same_network(study: Study) -> None:
    for wanted in (run("hire", snn__epochs="1"), run("rate", twin="same-ann"), run("traditional", twin="independent")):
        words = shlex.split(study.command(wanted))
        assert words[:2] == ["hiresnn", "train"]
        given = dict(zip(words[3:9:2], words[4:9:2], strict=True))
        values = dict(word.split("=", 1) for word in words[10::2])
        values |= {"method": given["--method"], "seed": given["--seed"], "data.source": f'"{given["--data"]}"'}
        assert override(read(words[2]), values).model_copy(update={"name": VGG5}) == study.scale.recipe(wanted)


def test_an_interrupted_run_continues_to_the_same_weights_after_its_data_moved(
    trained: Study, tiny: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    real = Training._set_lr

    def dying(training: Training, epoch: int) -> float:
        epochs.append(1)
        if len(epochs) == 4:  # two epochs of the ANN, one of the SNN
            raise KeyboardInterrupt
        return real(training, epoch)

    study = study_in(tmp_path, tiny)
    monkeypatch.setattr(Training, "_set_lr", dying)
    with pytest.raises(KeyboardInterrupt):
        study.train(run("traditional"))
    (begun,) = (tmp_path / "runs").glob("vgg5*/recipe.toml")
    begun.write_text(begun.read_text().replace('source = "digits"', 'source = "elsewhere.npz"'))
    study.train(run("traditional"))
    path = study.path(run("traditional"))
    assert RunFolder.open(path).recipe.data.source == "digits"
    assert len(epochs) == 5  # only the interrupted epoch was trained again
    assert (path / MODEL).read_bytes() == (trained.path(run("traditional")) / MODEL).read_bytes()


def test_a_stored_value_costs_nothing(trained: Study, tiny: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = accuracy(VGG5, "traditional", "pgd", "same-ann")
    first = value(trained, wanted)
    monkeypatch.setattr(module, "train", forbidden)
    monkeypatch.setattr(module, "load", forbidden)
    monkeypatch.setattr(module.data, "load", forbidden)
    again = study_in(trained.root, tiny)
    assert value(again, wanted) == first
    # The recipe's own settings in words are the same attack.
    attack = tiny.recipe(run("traditional")).attack
    text = f"pgd:iterations={attack.iterations},eps={attack.eps}"
    assert value(again, accuracy(VGG5, "traditional", text, "same-ann")) == first


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd:eps=8/255"])
def test_accuracies_are_those_of_hiresnn_evaluate(trained: Study, tmp_path: Path, attack: str) -> None:
    runs = {twin: trained.path(run("traditional", twin=twin)) for twin in (None, "same-ann", "independent")}
    copy = tmp_path / "run"  # evaluate writes into its run
    shutil.copytree(runs[None], copy)
    found = evaluate(
        copy,
        attacks=[attack],
        twins=[runs["same-ann"], runs["independent"]],
        limit=trained.scale.images,
        progress=trained.progress,
    )
    (entry,) = found["attacks"].values()
    assert value(trained, accuracy(VGG5, "traditional")) == found["clean"]
    assert value(trained, accuracy(VGG5, "traditional", attack)) == entry["white_box"]
    for box in ("same-ann", "independent"):
        assert value(trained, accuracy(VGG5, "traditional", attack, box)) == entry["twins"][box]


def test_the_rate_coded_network_is_attacked_over_draws_and_repeats(study: Study) -> None:
    wanted = accuracy(VGG5, "rate", "pgd")
    first = value(study, wanted)
    stored = next((study.root / "measured").glob("accuracy-*.json"))
    assert '"draws": 2' in stored.read_text()
    stored.unlink()
    torch.rand(7)  # the caller's own draws do not matter
    assert value(study, wanted) == first


def test_one_attack_gives_the_accuracy_after_each_number_of_iterations(trained: Study) -> None:
    counts = (1.0, 3.0, 7.0)
    wanted = Measurement("by-iteration", VGG5, "traditional", attack="pgd:iterations=7", grid=counts)
    each = [value(trained, accuracy(VGG5, "traditional", f"pgd:iterations={count:g}")) for count in counts]
    assert value(trained, wanted) == each


def test_accuracy_by_time_is_that_of_the_network_stopped_early(trained: Study) -> None:
    found = value(trained, Measurement("by-time", VGG5, "traditional", grid=(1.0, 2.0)))
    network = trained.network(run("traditional"))
    images, labels = trained.shown(VGG5, trained.scale.analysed)
    with torch.no_grad():
        for steps, percent in zip((1, 2), found, strict=True):
            right = sum(int(network(images[at : at + 1], steps).argmax() == labels[at]) for at in range(len(labels)))
            assert percent == pytest.approx(100 * right / len(labels))


def test_spikes_are_counted_over_all_images_in_parts(trained: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "ROWS", 8)
    found = value(trained, Measurement("activity", VGG5, "traditional"))
    network = trained.network(run("traditional"))
    images, _ = trained.shown(VGG5, trained.scale.analysed)
    with torch.no_grad(), record(network) as spikes:  # type: ignore[arg-type]
        network(images)
    assert list(found) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    for (neurons, steps, per_image), expected in zip(found.values(), spikes.values(), strict=True):
        assert (neurons, steps) == (expected[0, 0].numel(), 2)
        assert per_image == pytest.approx(float(expected.sum()) / len(images))


def test_pooling_layers_count_steps_whose_output_is_not_zero(trained: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "ROWS", 8)
    found = value(trained, Measurement("pool-activity", VGG5, "traditional"))
    network = trained.network(run("traditional"))
    images, _ = trained.shown(VGG5, trained.scale.analysed)
    with torch.no_grad(), record(network) as spikes:  # type: ignore[arg-type]
        network(images)
    assert list(found) == ["pool1", "pool2"]
    assert [place for *_, place in found.values()] == [1, 3]  # VGG5: behind conv1 and behind conv3
    for (outputs, steps, per_image, _), name in zip(found.values(), ("relu1", "relu3"), strict=True):
        pooled = F.avg_pool2d(spikes[name].flatten(0, 1), 2)
        assert (outputs, steps) == (pooled[0].numel(), 2)
        assert per_image == pytest.approx(float((pooled != 0).sum()) / len(images))


def test_an_image_in_both_codings_needs_no_network(study: Study) -> None:
    wanted = Measurement("input-codings", VGG5, "rate", 0, grid=(1, 4, 400))
    assert [job.kind for job in plan(study, [wanted])] == ["measure"]
    found = value(study, wanted)
    image = (255 * study.shown(VGG5, 1)[0][0].permute(1, 2, 0)).round().int().tolist()
    assert found["direct"] == image
    once, four, many = found["errors"]
    assert once > four > many > 0
    assert found["silent"][0] > found["silent"][2]
    assert study.key(wanted)["content"] == "digits"


def layers(study: Study, method: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Layer -> its operations."""
    found = value(study, Measurement("operations", VGG5, method, **{"grid": (1.0,), **more}))
    return {layer["name"]: layer for layer in found["layers"]}


def test_operations_follow_the_spikes_the_image_and_the_attack(trained: Study) -> None:
    plain = layers(trained, "traditional")
    network = trained.network(run("traditional"))
    assert isinstance(network, SpikingNetwork)
    activity = SpikingActivity()
    with torch.no_grad(), record(network) as spikes:
        network(trained.shown(VGG5, trained.scale.analysed)[0])
    activity.update(spikes)
    # zeta of a layer behind neurons is their spiking activity
    assert plain["conv3"]["activity"] == pytest.approx(activity.compute()["relu2"].sa)
    twice = layers(trained, "traditional", grid=(2.0,))
    assert twice["conv1"]["macs"] == pytest.approx(2 * plain["conv1"]["macs"])
    assert twice["conv2"]["macs"] == pytest.approx(plain["conv2"]["macs"])
    assert layers(trained, "traditional", attack="pgd") != plain


def test_the_rate_coded_network_sees_no_image(study: Study) -> None:
    assert all(layer["inputs"] != "image" for layer in layers(study, "rate").values())


def test_an_ann_with_eight_bits_is_as_good_as_ever(trained: Study) -> None:
    found = value(trained, Measurement("quantised-ann", VGG5, "ann", grid=tuple(BITS)))
    assert len(found) == 8
    assert found[-1] == pytest.approx(value(trained, accuracy(VGG5, "ann")), abs=5.0)  # one of 20 images


def test_random_draws_follow_from_the_key_alone(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measuring.MEASURE, "cost", lambda *_: float(torch.rand(())))
    one, other = (Measurement("cost", VGG5, "hire", seed) for seed in (0, 1))
    first = measure(study, one).value
    shutil.rmtree(study.root / "measured")
    measure(study, other)
    assert measure(study, one).value == first


def test_a_damaged_value_is_measured_again_and_one_that_is_not_finite_is_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, values = Measurement("cost", VGG5, "hire", 0), iter([1.0, 2.0, float("nan")])
    monkeypatch.setitem(measuring.MEASURE, "cost", lambda *_: next(values))
    assert measure(study, wanted).value == 1.0
    assert measure(study, wanted).value == 1.0
    (path,) = (study.root / "measured").glob("cost-*.json")
    path.write_text('{"value"')
    assert measure(study, wanted).value == 2.0
    assert json.loads(path.read_text())["where"]["semantics"] == SEMANTICS
    with pytest.raises(RunError, match="not finite"):
        measure(study, replace(wanted, seed=1))


def test_a_plan_trains_nothing_and_working_through_it_leaves_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [accuracy(VGG5, "traditional", "fgsm", "same-ann").each(study.scale)[0]] * 2
    with monkeypatch.context() as patched:
        patched.setattr(module, "train", forbidden)
        patched.setattr(module.data, "load", forbidden)
        jobs = plan(study, wanted)
    assert not study.root.exists()
    assert [job.kind for job in jobs] == ["ann", "traditional", "traditional", "measure"]
    ann, own, twin, measured = jobs
    assert (own.needs, twin.needs, measured.needs) == ((ann.name,), (ann.name,), (own.name, twin.name))
    assert all(job.seconds > 0 for job in jobs)
    for job in jobs:
        do(study, job.task)
    assert plan(study, wanted) == []
    (study.root / "measured" / f"{measured.name}.json").unlink()
    (study.path(run("traditional")) / MODEL).unlink()
    assert [(job.kind, job.needs) for job in plan(study, wanted)] == [
        ("traditional", ()),  # its ANN is still there
        ("measure", (own.name,)),
    ]


def test_times_are_estimated_from_images_epochs_and_steps() -> None:
    changes = (("ann.epochs", "3"), ("snn.epochs", "2"), ("snn.timesteps", "4"))
    setting = Setting("digits", changes, training_images=1000, ann_ms=2.0, step_ms=0.5)
    scale = replace(SCALES["smoke"], networks={VGG5: setting}, images=100)
    study = study_in(Path("nowhere"), scale)
    ann, hire, measured = plan(study, accuracy(VGG5, "hire", "pgd:iterations=7").each(scale))
    # 3 epochs x 1,000 images x 2 ms = 6 s; 2 x 1,000 x 4 steps x 0.5 ms = 4 s
    assert (ann.seconds, hire.seconds) == (6.0, 4.0)
    # 100 images x 4 steps x 0.5 ms x (7 gradients + a third for the forward pass alone)
    assert measured.seconds == pytest.approx(0.2 * (7 + 1 / 3))


def test_a_network_has_as_many_seeds_as_its_setting_allows(tiny: Scale) -> None:
    scale = replace(tiny, networks={VGG5: replace(tiny.networks[VGG5], seeds=2, rate_seeds=1)}, seeds=3)
    assert [each.seed for each in accuracy(VGG5, "hire").each(scale)] == [0, 1]
    assert [each.seed for each in accuracy(VGG5, "rate").each(scale)] == [0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda scale: scale.recipe(Run("vgg6-cifar10", "hire", 0)), "no network 'vgg6-cifar10'; it has vgg5-cifar10"),
        (lambda scale: accuracy(VGG5, "hire", "pgd", box="grey"), "box is 'grey'; choose one of white"),
        (lambda scale: scale.recipe(run("hire", twin="brother")), "twin is 'brother'; choose same-ann"),
        (lambda scale: accuracy(VGG5, "rate", "apgd").each(scale)[0].spec(scale), "only attacked by fgsm and pgd"),
        (lambda scale: scale.with_sources({"cifar10": "x.npz"}), "no data of that name; it has digits"),
    ],
)
def test_a_wrong_name_is_a_usage_error(tiny: Scale, wrong: Callable[[Scale], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wrong(tiny)


def test_too_few_test_images_are_refused(trained: Study, tiny: Scale) -> None:
    with pytest.raises(
        UsageError, match=r"measures on 20,000 test images of vgg5-cifar10, and its data have \d+; give"
    ):
        study_in(trained.root, replace(tiny, images=20_000)).test(VGG5, 20_000)
    assert len(trained.test(VGG5, 20)) == 20
