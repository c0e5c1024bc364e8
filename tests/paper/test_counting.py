"""Operations and bits on trained networks: counted once, kept, and as an independent sum has them."""

import json
from typing import Any

import pytest
import torch

from hiresnn.analysis import PRICES, SpikingActivity
from hiresnn.network import SpikingNetwork, record
from hiresnn.paper import counting
from hiresnn.paper.counting import equal_bits, has_rate, quantised_energy, reports
from hiresnn.paper.study import Study

from .conftest import study_in
from .given import report

NETWORK = "vgg5-cifar10"


@pytest.fixture(scope="module")
def measured(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_in(tmp_path_factory.mktemp("study"), tiny)


def test_zeta_of_a_layer_behind_neurons_is_their_spiking_activity(measured: Study) -> None:
    (found,) = reports(measured, NETWORK, "hire")
    network = measured.network_of(measured.run(NETWORK, "hire", 0))
    assert isinstance(network, SpikingNetwork)
    activity = SpikingActivity()
    with torch.no_grad(), record(network) as spikes:
        network(measured.images.shown(NETWORK, measured.scale.analysed)[0])
    activity.update(spikes)
    layers = {layer.name: layer for layer in found.layers}
    assert layers["conv3"].activity == pytest.approx(activity.compute()["relu2"].sa)
    assert layers["conv1"].inputs == "image"
    assert found.timesteps == 2


def test_the_rate_coded_network_sees_no_image_and_has_its_own_t(measured: Study) -> None:
    (found,) = reports(measured, NETWORK, "rate")
    assert found.timesteps == 4
    assert all(layer.inputs != "image" for layer in found.layers)


def test_training_shows_n_variants_of_the_image(measured: Study) -> None:
    (plain,), (training,) = reports(measured, NETWORK, "hire"), reports(measured, NETWORK, "hire", variants=2)
    assert training.layers[0].macs == pytest.approx(2 * plain.layers[0].macs)
    assert training.layers[2].macs == pytest.approx(plain.layers[2].macs)


def test_an_attack_changes_the_spikes(measured: Study) -> None:
    (plain,), (attacked,) = reports(measured, NETWORK, "hire"), reports(measured, NETWORK, "hire", attack="pgd")
    assert plain.layers != attacked.layers


def test_what_was_counted_is_kept(measured: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reports(measured, NETWORK, "hire")
    monkeypatch.setattr(counting, "Energy", None)
    assert reports(measured, NETWORK, "hire") == first


def test_a_plan_gets_numbers_that_are_none(study: Study) -> None:
    asked: list[Any] = []
    jobs = study.plan([lambda planned: asked.extend(reports(planned, NETWORK, "rate"))])
    assert [job.kind for job in jobs] == ["ann", "rate", "measure"]
    assert str(asked[0].snn(PRICES["fp32"])) == "nan"


@pytest.mark.parametrize(("wanted", "bits"), [(50.0, 3), (60.0, 3), (60.1, 5), (95.0, None)])
def test_bits_are_the_fewest_that_are_as_accurate(
    study: Study, monkeypatch: pytest.MonkeyPatch, wanted: float, bits: int | None
) -> None:
    monkeypatch.setattr(study, "run", lambda *asked: study.root / "run")
    monkeypatch.setattr(study, "measured", lambda *asked, **options: [10.0, 20.0, 60.0, 55.0, 90.0, 90.0, 90.0, 90.0])
    monkeypatch.setattr(study, "accuracy", lambda network, method, seed: {"hire": wanted}[method])
    assert equal_bits(study, NETWORK, 0) == bits


def test_a_rounded_ann_is_measured_and_with_eight_bits_as_good_as_ever(measured: Study) -> None:
    equal_bits(measured, NETWORK, 0)
    (path,) = measured.root.glob("measured/quantised-*.json")
    found = json.loads(path.read_text())["value"]
    assert len(found) == 8
    assert found[-1] == pytest.approx(measured.accuracy(NETWORK, "ann", 0), abs=5.0)  # one of 20 images


def test_the_energy_of_few_bits_is_that_of_shorter_multiplications() -> None:
    # the image in full: 900 x 4.6; the other 200 connections: a multiplication by b of 32 bits, and an addition
    for bits in (1, 3, 8):
        expected = 900 * 4.6 + 200 * (3.7 * bits / 32 + 0.9)
        assert quantised_energy(report(), bits, PRICES["fp32"]) == pytest.approx(expected)


def test_the_paper_has_rate_coded_vggs_alone() -> None:
    assert [has_rate(network) for network in ("vgg5-cifar10", "vgg11-cifar100", "resnet12-cifar10")] == [
        True, True, False,
    ]  # fmt: skip
