"""Each kind of measurement against another way to the same number."""

import shutil
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from hiresnn.app.evaluate import evaluate
from hiresnn.app.recipe import override, read
from hiresnn.attacks import fgsm, pgd, seeded
from hiresnn.checks import correct
from hiresnn.network import record
from reproduction import cost
from reproduction import measure as module
from reproduction.artefacts import do, plan
from reproduction.measure import best_ceiling, quantise, quantised
from reproduction.paper import VGG5, Run
from reproduction.results import accuracy
from reproduction.study import Measurement, Multiplied, packed

from .conftest import study_in


def run(method, twin=None):
    return Run(VGG5, method, 0, twin)


def value(study, wanted):
    """A value with everything that it needs, as a reproduction makes it."""
    for task in plan(study, wanted.each(study.scale)):
        do(study, task)
    (stored,) = map(study.find, wanted.each(study.scale))
    return stored.value


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A study with a traditional run, its ANN, and both twins."""
    study = study_in(tmp_path_factory.mktemp("trained"), tiny)
    for wanted in (run("ann"), *(run("traditional", twin=twin) for twin in (None, "same-ann", "independent"))):
        study.train(wanted)
    return study


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd:eps=8/255"])
def test_accuracies_are_those_of_hiresnn_evaluate(trained, tmp_path, attack):
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


def test_an_accuracy_is_stored_with_a_bit_for_each_image(trained):
    wanted = accuracy(VGG5, "traditional", "fgsm")
    percent = value(trained, wanted)
    (stored,) = map(trained.find, wanted.each(trained.scale))
    network, (images, labels) = trained.network(run("traditional")), trained.images(VGG5, 20)
    eps = trained.scale.recipe(run("traditional")).attack.eps
    right = correct(network(fgsm(network, images, labels, eps=eps)), labels).tolist()
    assert stored.right == packed(right)
    assert percent == 100 * sum(right) / 20
    assert 0 < percent < 100


def test_margins_are_those_of_the_logits_and_attacks_run_once_more_without_rounding(trained):
    wanted = Measurement("margins", VGG5, "traditional", 0)
    images, labels = trained.images(VGG5, trained.scale.images)
    with torch.no_grad():
        logits = trained.network(wanted.run)(images)
    true = logits.gather(1, labels[:, None])[:, 0]
    gaps = true - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    low, half, high, above = value(trained, wanted)
    assert half == pytest.approx(float(gaps.double().quantile(0.5)), abs=1e-5)
    assert low <= half <= high
    assert above == 100 * float((gaps > 16.6).double().mean())
    rounded, exact = (
        accuracy(VGG5, "traditional", text).each(trained.scale)[0] for text in ("pgd", "pgd:float32_loss=false")
    )
    assert trained.key(exact) == trained.key(rounded) | {"float32_loss": False}
    assert exact.spec(trained.scale).resolved()["float32_loss"] is False
    assert rounded.spec(trained.scale).resolved()["float32_loss"] is True


def test_the_rate_coded_network_is_attacked_over_draws_and_repeats(study):
    wanted = accuracy(VGG5, "rate", "pgd")
    first = value(study, wanted)
    stored = next((study.root / "measured").glob("accuracy-*.json"))
    assert '"draws": 2' in stored.read_text()
    stored.unlink()
    torch.rand(7)  # the caller's own draws do not matter
    assert value(study, wanted) == first


def test_attacks_on_a_rate_coded_network_see_logits_as_large_as_those_of_direct_input(study):
    wanted = run("rate")
    study.train(wanted)
    images, labels = study.images(VGG5, 20)
    network = study.network(wanted)
    assert network.timesteps == 4  # and 2 with direct input

    def half(pixels):
        return network(pixels) / 2

    def crafted(model):
        with seeded(0):
            return pgd(model, images, labels, eps=8 / 255, float32_loss=True)

    assert torch.equal(crafted(study.attacked(wanted)), crafted(half))
    assert not torch.equal(crafted(half), crafted(network))
    (attack,), (clean,) = accuracy(VGG5, "rate", "pgd").each(study.scale), accuracy(VGG5, "rate").each(study.scale)
    assert study.key(attack)["logit factor"] == 0.5
    assert "logit factor" not in study.key(clean)
    legacy = replace(study.scale.setting(VGG5), rate_legacy=True)
    study.scale = replace(study.scale, networks={VGG5: legacy})
    assert "logit factor" not in study.key(attack)
    assert not isinstance(study.attacked(wanted), Multiplied)


def test_one_attack_gives_the_accuracy_after_each_number_of_iterations(trained):
    counts = (1.0, 3.0, 7.0)
    wanted = Measurement("by-iteration", VGG5, "traditional", attack="pgd:iterations=7", grid=counts)
    each = [value(trained, accuracy(VGG5, "traditional", f"pgd:iterations={count:g}")) for count in counts]
    assert value(trained, wanted) == each


def test_the_cost_of_training_is_measured_on_images_of_the_size_of_the_data(study):
    costs = value(study, Measurement("cost", VGG5, "hire", 0))
    assert costs["batches"] == study.scale.cost_batches
    assert costs["seconds_per_batch"] > 0


def test_spikes_are_counted_over_all_images_in_parts(trained, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 8)
    found = value(trained, Measurement("activity", VGG5, "traditional"))
    network = trained.network(run("traditional"))
    images, _ = trained.images(VGG5, trained.scale.analysed)
    with torch.no_grad(), record(network) as spikes:
        network(images)
    assert list(found) == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    for (neurons, steps, per_image), expected in zip(found.values(), spikes.values(), strict=True):
        assert (neurons, steps) == (expected[0, 0].numel(), 2)
        assert per_image == pytest.approx(float(expected.sum()) / len(images))


def test_activations_go_to_the_nearest_of_the_levels():
    # 2 bits, ceiling 6: levels 0, 2, 4, 6
    activations = torch.tensor([0.0, 0.9, 1.1, 2.9, 3.1, 5.5, 6.0, 60.0])
    assert quantise(activations, 6.0, 2).tolist() == [0, 0, 2, 2, 4, 6, 6, 6]


def test_the_ceiling_is_the_one_with_the_least_error():
    # 1 bit, levels 0 and c. Nine activations of 1 and one of 2: c = 1 leaves 1 once, c = 1.1 leaves 9 x 0.01 + 0.81
    # = 0.90, c = 1.2 leaves 9 x 0.04 + 0.64 = 1.00.
    activations = torch.tensor([1.0] * 9 + [2.0])
    assert best_ceiling(activations, 1) == pytest.approx(1.1)


def network():
    """x -> relu(x) -> 2 relu(x) -> relu of it, for numbers that can be followed."""
    layers = nn.Sequential(nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU())
    nn.init.constant_(layers[1].weight, 2.0)
    return layers


def test_every_relu_of_a_network_is_rounded_with_the_ceiling_of_the_calibration():
    ann = network()
    # 1 bit, both calibration images 1: ceilings 1 and 2. Then 0.6 -> 1 -> 2, 0.4 -> 0, 9 -> 1 -> 2.
    with quantised(ann, torch.ones(2, 1), 1), torch.no_grad():
        assert ann(torch.tensor([[0.6], [0.4], [9.0], [-3.0]])).flatten().tolist() == [2, 0, 2, 0]


LONG = {
    "model.width": "0.25",
    "model.hidden": "16",
    "snn.timesteps": "8",
    "noise.periods": "4",
    "snn.batch_size": "8",
    "precision": '"float32"',
    "compile": '"never"',
    "device": '"cpu"',
}
"""A small network whose activations over 8 steps weigh far more than its weights."""


def recipe(method, **changes):
    return override(read("vgg5-cifar10-cpu"), {"method": method, **LONG, **changes})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of one phase is read from /proc")
def test_shorter_periods_hold_less_memory():
    traditional, hire = (
        cost.measure(recipe(method), 2, channels=3, size=32, classes=10) for method in ("traditional", "hire")
    )
    # Kept for the backward pass, at least: the input currents of 16 x 32 x 32 + 2 x 32 x 16 x 16 + 32 neurons of 8
    # images over 8 steps in float32 are 8.0 MiB; HIRE keeps those of a period of 2 steps.
    currents = 4 * 8 * 8 * (16 * 1024 + 2 * 32 * 256 + 2 * 16)
    assert currents < traditional["peak_bytes"] < 8 * currents
    assert currents / 4 < hire["peak_bytes"] < 0.6 * traditional["peak_bytes"]
    assert traditional["seconds_per_batch"] > 0
    assert traditional["processor_seconds_per_batch"] > 0
    assert (traditional["device"], traditional["batch_size"], traditional["batches"]) == ("cpu", 8, 2)
