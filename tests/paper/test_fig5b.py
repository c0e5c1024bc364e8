"""Fig. 5b on three networks that are not trained, against distances computed one image at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hiresnn import convert
from hiresnn.attacks import pgd
from hiresnn.charts import print as plotting
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, record
from hiresnn.paper.fig5b import fig5b, spike_distances

from .conftest import StubStudy
from .drawn import heights, names

IMAGES = 40


def network_of_seed(seed: int) -> SpikingNetwork:
    torch.manual_seed(seed)
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.125, hidden=32)
    return convert(ann.eval(), torch.rand(20, 1, 8, 8), timesteps=4, threshold_scale=0.4)


def map_of(network: SpikingNetwork, image: Tensor) -> list[Tensor]:
    """Spikes of each neuron over T, layer by layer, of one image."""
    with record(network) as spikes:
        network(image[None])
    return [layer.double().mean(0).flatten() for layer in spikes.values()]


def test_spike_distances_are_those_of_each_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiresnn.paper.fig5b.BATCH_ROWS", 12)  # three images at once
    network, images = network_of_seed(0), torch.rand(7, 1, 8, 8)
    attacked = (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
    names_found, found = spike_distances(network, images, attacked)
    assert names_found == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    for at in range(7):
        pairs = zip(map_of(network, images[at]), map_of(network, attacked[at]), strict=True)
        assert found[at].tolist() == pytest.approx([float((one - other).norm()) for one, other in pairs])


@pytest.fixture
def given(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> StubStudy:
    """Networks of seeds 0, 1, 2; labels on which the first two agree on clean images."""
    networks = [network_of_seed(seed) for seed in (3, 3, 5)]
    with torch.no_grad():  # the second is the first, a little changed
        for parameter in networks[1].parameters():
            parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
    torch.manual_seed(7)
    images = torch.rand(IMAGES, 1, 8, 8)
    labels = networks[0](images).argmax(1)

    def run(network: str, method: str, seed: int) -> Path:
        assert (network, method) == ("vgg5-cifar10", "traditional")
        return stub.root / f"run-{seed}"

    monkeypatch.setattr(stub, "run", run)
    monkeypatch.setattr(stub, "network_of", lambda path: networks[int(path.name[-1])])
    monkeypatch.setattr(stub.images, "shown", lambda name, count: (images, labels))
    stub.given = (networks, images, labels)  # type: ignore[attr-defined]
    return stub


def expected(given: StubStudy) -> dict[int, tuple[list[float], list[float]]]:
    """Index of each image that splits the networks -> distances of the right and of the wrong network."""
    networks, images, labels = given.given  # type: ignore[attr-defined]
    recipe = given.recipe("vgg5-cifar10", "traditional", 2)
    setting = recipe.attack
    attacked = pgd(networks[2], images, labels, eps=setting.eps, step=setting.step, iterations=setting.iterations)
    found = {}
    for at, (image, adversarial, label) in enumerate(zip(images, attacked, labels, strict=True)):
        clean = [int(network(image[None]).argmax()) == int(label) for network in networks[:2]]
        after = [int(network(adversarial[None]).argmax()) == int(label) for network in networks[:2]]
        if all(clean) and sum(after) == 1:
            moved = [
                [
                    float((one - other).norm())
                    for one, other in zip(map_of(n, image), map_of(n, adversarial), strict=True)
                ]
                for n in networks[:2]
            ]
            found[at] = (moved[after.index(True)], moved[after.index(False)])
    return found


def test_right_and_wrong_network_are_told_apart_image_by_image(given: StubStudy) -> None:
    images = expected(given)
    assert len(images) >= 2, "the networks must differ on some images for this test to say anything"
    rows = fig5b(given).tables[0].rows[1:]
    for at, row in enumerate(rows):
        for column, side in ((4, 0), (5, 1)):
            values = [pair[side][at] for pair in images.values()]
            assert row[column].mean == pytest.approx(sum(values) / len(values))
            assert len(row[column].values) == len(images)
    one = [(row[2], row[3]) for row in rows]
    candidates = [list(zip(*pair, strict=True)) for pair in images.values()]
    assert any(one == [pytest.approx(layer) for layer in candidate] for candidate in candidates)


def test_the_figure_draws_the_table(given: StubStudy) -> None:
    artefact = fig5b(given)
    drawn = artefact.figure(plotting)
    rows = artefact.tables[0].rows[1:]
    for axes, columns in zip(drawn.axes, ((2, 3), (4, 5)), strict=True):
        mean = [[getattr(row[column], "mean", row[column]) for row in rows] for column in columns]
        assert list(heights(axes).values()) == mean
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [row[0] for row in rows]
        assert "L_2" in axes.get_ylabel()
    assert names(drawn) == ["M1, right on the perturbed image", "M2, wrong on the perturbed image"]


def layers(right: list[float], wrong: list[float]) -> dict[str, Any]:
    return {
        "layers": ["conv1", "fc1"],
        "neurons": [100, 4],
        "right": {"one": right, "all": [right]},
        "wrong": {"one": wrong, "all": [wrong]},
        "image": [0.5, [[0.5]]],
        "images": 1,
        "of": 9,
    }


def test_a_rise_is_judged_per_neuron(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub, "run", lambda network, method, seed: stub.root / f"run-{seed}")
    # per neuron: 2 / 10 then 0.6 / 2 rises; 2 / 10 then 0.2 / 2 falls
    monkeypatch.setattr(stub, "measured", lambda *_, **__: layers([2.0, 0.6], [2.0, 0.2]))
    right, wrong = fig5b(stub).notes[-2:]
    assert "right on the perturbed image" in right
    assert "It comes out here: judged per neuron, it rises at fc1" in right
    assert "It does not come out here: judged per neuron, it rises at no layer" in wrong


def test_where_no_image_splits_the_networks_the_figure_is_empty_and_says_so(
    stub: StubStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub, "run", lambda network, method, seed: stub.root / f"run-{seed}")
    monkeypatch.setattr(stub, "measured", lambda *_, **__: {"images": 0, "of": 9})
    artefact = fig5b(stub)
    assert artefact.tables[0].rows == []
    assert any(note.startswith("0 of 9 test images") for note in artefact.notes)
    assert len(artefact.figure(plotting).axes) == 2
