"""A file of weights gives back the very network, is refused by name when it cannot, and never runs code."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import hiresnn
from hiresnn.app.networks import load, save
from hiresnn.errors import RunError, UsageError
from hiresnn.models import OwnNetwork, build
from hiresnn.network import SpikingNetwork, convert, spiking_graph
from hiresnn.neurons import LIF, Linear

SHAPE = {"in_channels": 1, "image_size": 8, "width": 0.0625, "hidden": 16, "mean": (0.3,), "std": (0.2,)}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ann() -> nn.Module:
    torch.manual_seed(0)
    return build("vgg5", 10, **SHAPE)  # type: ignore[arg-type]


def own(units: int = 12) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10))


def test_an_ann_comes_back_with_equal_logits(tmp_path: Path, ann: nn.Module, images: Tensor) -> None:
    hiresnn.save(ann, tmp_path / "a.safetensors")
    loaded = hiresnn.load(tmp_path / "a.safetensors")
    assert not loaded.training
    assert torch.equal(loaded(images), ann.eval()(images))


@pytest.mark.parametrize("trainable", [True, False])
def test_a_spiking_network_comes_back_with_equal_logits_and_all_that_it_is(
    tmp_path: Path, ann: nn.Module, images: Tensor, trainable: bool
) -> None:
    kind: dict[str, Any] = {"leak": 0.9, "reset": "subtract-unleaked", "surrogate": Linear(0.7, 2.0)}
    network = convert(ann, images, timesteps=5, **kind).train_neurons_(trainable)
    save(network, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert isinstance(loaded, SpikingNetwork)
    assert torch.equal(loaded(images), network.eval()(images))
    assert (loaded.timesteps, loaded.encoding.encoding, loaded.spec) == (5, "direct", network.spec)
    for name, lif in loaded.neurons.items():
        assert (lif.reset, lif.surrogate) == ("subtract-unleaked", Linear(0.7, 2.0))
        assert (lif.threshold.requires_grad, lif.leak.requires_grad) == (trainable, trainable)
        assert (lif.threshold, lif.leak) == (network.neurons[name].threshold, network.neurons[name].leak)


@pytest.mark.parametrize("condition", [">", ">="])
def test_a_reset_to_zero_and_the_condition_of_a_spike_come_back(
    tmp_path: Path, ann: nn.Module, images: Tensor, condition: Any
) -> None:
    network = convert(ann, images, timesteps=3, reset="zero", condition=condition)
    save(network, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert isinstance(loaded, SpikingNetwork)
    assert {(lif.reset, lif.neuron.condition) for lif in loaded.neurons.values()} == {("zero", condition)}
    assert torch.equal(loaded(images), network.eval()(images))
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["hiresnn"])["spiking"]
    assert ("condition" in described) is (condition != ">")  # absent in files of version one


@pytest.mark.parametrize(("start", "wait"), [(0.0, False), (0.5, False), (0.5, True)])
def test_the_start_and_the_waiting_of_neurons_and_folded_batch_norms_come_back(
    tmp_path: Path, start: float, wait: bool
) -> None:
    ann, images = build("vgg5", 10, width=0.125, hidden=16, batch_norm=True), torch.rand(6, 3, 32, 32)
    network = convert(ann, images, timesteps=3, start=start, wait=wait, rescale=True)
    save(network, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert isinstance(loaded, SpikingNetwork)
    assert {(lif.v_init, lif.wait) for lif in loaded.neurons.values()} == {(start, wait)}
    assert torch.equal(loaded(images), network.eval()(images))
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["hiresnn"])["spiking"]
    assert ("start" in described, "wait" in described) == (start != 0, wait)  # absent in files of version one


def test_quantised_clipped_activations_and_the_network_converted_from_them_come_back(tmp_path: Path) -> None:
    images = torch.rand(6, 3, 32, 32)
    ann = build("vgg5", 10, width=0.125, hidden=16, activation="qcfs", levels=4).eval()
    network = convert(ann, images, timesteps=4, threshold_scale=1.0, start=0.5, rescale=True).eval()
    for name, model in (("ann", ann), ("snn", network)):
        save(model, tmp_path / name)
        assert torch.equal(load(tmp_path / name)(images), model(images))


def test_poisson_encoding_comes_back(tmp_path: Path, ann: nn.Module, images: Tensor) -> None:
    save(convert(ann, images, timesteps=3, encoding="poisson"), tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert isinstance(loaded, SpikingNetwork)
    assert loaded.encoding.encoding == "poisson"


def test_a_network_of_ones_own_comes_back_with_its_ann(tmp_path: Path, images: Tensor) -> None:
    network = convert(own(), images, timesteps=4).eval()
    save(network, tmp_path / "a.safetensors")
    with pytest.raises(RunError, match=r"holds a network of your own; pass its ANN: hiresnn\.load\(path, ann="):
        load(tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors", ann=own())  # other weights: only the structure counts
    assert torch.equal(loaded(images), network(images))


def test_a_plain_network_of_ones_own_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Sequential is no hiresnn network; save its state_dict yourself"):
        save(own(), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_neurons_that_differ_or_learn_by_another_rule_are_not_saved(
    tmp_path: Path, ann: nn.Module, images: Tensor
) -> None:
    network = convert(ann, images, timesteps=4)
    first: LIF = next(iter(network.neurons.values()))
    first.reset = "subtract-unleaked"
    with pytest.raises(UsageError, match="the neurons differ in reset, v_init, fires_at_threshold, wait, surrogate or"):
        save(network, tmp_path / "a.safetensors")
    for lif in network.neurons.values():
        lif.reset, lif.surrogate = "subtract", abs  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"a file can hold only the linear rule of Eq\. 5"):
        save(network, tmp_path / "a.safetensors")


def rewritten(path: Path, header: object) -> None:
    metadata = {} if header is None else {"hiresnn": header if isinstance(header, str) else json.dumps(header)}
    save_file({"weight": torch.zeros(20_000)}, path, metadata)


SPEC = {"name": "vgg5", "num_classes": 2, "width": 0.01, "hidden": 1}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, r"there is no file .*a\.safetensors; name a model\.safetensors that hiresnn wrote"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-9]), r"a\.safetensors is damaged or cut short"),
    "empty": (lambda p: p.write_bytes(b""), r"a\.safetensors is damaged or cut short"),
    "a pickle": (lambda p: torch.save({"weight": torch.zeros(2)}, p), r"a\.safetensors is damaged or cut short"),
    "without header": (lambda p: rewritten(p, None), r"a\.safetensors was not written by hiresnn\.save"),
    "no JSON": (lambda p: rewritten(p, "{"), r"a\.safetensors was not written by hiresnn\.save"),
    "foreign": (lambda p: rewritten(p, {"format": "pt"}), r"a\.safetensors was not written by hiresnn\.save"),
    "a list": (lambda p: rewritten(p, [1]), r"a\.safetensors was not written by hiresnn\.save"),
    "unknown argument": (
        lambda p: rewritten(p, {"format": 1, "spec": {**SPEC, "depth": 5}}),
        r"a\.safetensors was not written by hiresnn\.save",
    ),
    "newer": (lambda p: rewritten(p, {"format": 2}), r"has format 2, but this hiresnn reads up to 1; update hiresnn"),
    "other weights": (
        lambda p: rewritten(p, {"format": 1, "spec": SPEC}),
        r"a\.safetensors belongs to another architecture \(Unexpected key\(s\) in state_dict: \"weight\"",
    ),
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_a_bad_file_is_refused_by_what_is_wrong_with_it(tmp_path: Path, ann: nn.Module, fault: str) -> None:
    path = tmp_path / "a.safetensors"
    save(ann, path)
    spoil, message = BAD[fault]
    spoil(path)
    with pytest.raises(RunError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_the_ann_of_another_architecture_is_refused(tmp_path: Path, images: Tensor) -> None:
    save(convert(own(12), images, timesteps=4), tmp_path / "a.safetensors")
    with pytest.raises(RunError, match=r"a\.safetensors belongs to another architecture .size mismatch for"):
        load(tmp_path / "a.safetensors", ann=own(13))


def test_weights_carry_a_checksum_and_a_changed_value_is_refused(tmp_path: Path, ann: nn.Module) -> None:
    path = tmp_path / "a.safetensors"
    save(ann, path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # one bit of the last weight
    path.write_bytes(content)
    with pytest.raises(RunError, match="its weights do not match their checksum"):
        load(path)


def test_a_file_of_version_one_has_no_checksum_and_loads(tmp_path: Path, ann: nn.Module, images: Tensor) -> None:
    path = tmp_path / "a.safetensors"
    header = json.dumps({"format": 1, "spec": ann.spec})
    save_file({name: tensor.contiguous() for name, tensor in ann.state_dict().items()}, path, {"hiresnn": header})
    assert torch.equal(load(path)(images), ann.eval()(images))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, ann: nn.Module, value: float) -> None:
    path = tmp_path / "a.safetensors"
    weights = list(ann.parameters())[-1]
    with torch.no_grad():
        weights.view(-1)[3] = value
    with pytest.raises(RunError, match="not finite"):
        save(ann, path)
    header = json.dumps({"format": 1, "spec": ann.spec})
    save_file({name: tensor.contiguous() for name, tensor in ann.state_dict().items()}, path, {"hiresnn": header})
    with pytest.raises(RunError, match=r"a\.safetensors: .* holds numbers that are not finite"):
        load(path)


def test_weights_of_eight_bits_which_torch_cannot_check_are_refused(tmp_path: Path, ann: nn.Module) -> None:
    path = tmp_path / "a.safetensors"
    header = json.dumps({"format": 1, "spec": ann.spec})
    tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in ann.state_dict().items()}
    save_file(tensors, path, {"hiresnn": header})
    with pytest.raises(RunError, match=r"a\.safetensors: .* is torch\.float8_e4m3fn in torch\.strided"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 500.0}, {"hidden": 10**6}, {"num_classes": 10**6}, {"image_size": 10**4}, {"hidden": 10**18},
        {"width": 1e308}, {"in_channels": 10**12}, {"width": "x"}, {"mean": [[[1]]]}, {"name": "vgg99"},
    ],
)  # fmt: skip
def test_a_small_file_cannot_allocate_much_memory(
    tmp_path: Path, ann: nn.Module, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save(ann, path)
    largest = sum(parameter.numel() for parameter in ann.parameters())
    real = torch.nn.init.kaiming_normal_

    def guarded(tensor: Tensor, **options: object) -> Tensor:
        assert tensor.is_meta or tensor.numel() <= largest
        return real(tensor, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", guarded)
    header = json.dumps({"format": 1, "spec": {**ann.spec, **change}})
    save_file({name: tensor.contiguous() for name, tensor in ann.state_dict().items()}, path, {"hiresnn": header})
    with pytest.raises(RunError, match=r"a\.safetensors (is damaged|was not written)") as caught:
        load(path)
    assert len(str(caught.value)) < 500


def test_tied_weights_are_saved_and_loaded(tmp_path: Path, images: Tensor) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            size = images[0].numel()
            self.first = nn.Linear(size, size, bias=False)
            self.second = nn.Linear(size, size, bias=False)
            self.second.weight = self.first.weight
            self.out, self.relu = nn.Linear(size, 3), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.relu(self.second(self.relu(self.first(x.flatten(1))))))

    network = convert(Tied(), images, timesteps=4)
    save(network, tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path / "a.safetensors", ann=Tied())(images), network.eval()(images))


def test_the_anns_of_two_loaded_networks_are_not_the_same_object(tmp_path: Path) -> None:
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    for number in (0, 1):
        torch.manual_seed(number)
        made = OwnNetwork(
            nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
            {"name": "own", "source": "mine.py:ann", "num_classes": 2, "in_channels": 1, "height": 2, "width": 2,
             "normalise": False}, None, None,
        )  # fmt: skip
        save(made, tmp_path / f"{number}.safetensors")
    first = load(tmp_path / "0.safetensors", ann=ann)
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    second = load(tmp_path / "1.safetensors", ann=ann)
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(second.state_dict()["network.1.weight"], before["network.1.weight"])


def test_double_precision_is_stored_and_read(tmp_path: Path) -> None:
    network = build("vgg5", 3, in_channels=1, image_size=8, width=0.05, hidden=8).double()
    save(network, tmp_path / "a.safetensors")
    found = load(tmp_path / "a.safetensors")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.state_dict().items())
    assert next(found.parameters()).dtype == torch.float64


def test_an_imported_network_is_read_with_one_of_the_same_structure(tmp_path: Path) -> None:
    def imported(threshold: float, timesteps: int = 3) -> SpikingNetwork:
        ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        network = spiking_graph(ann, timesteps)
        network.neurons["2"].threshold.data.fill_(threshold)
        return network

    network, other = imported(0.7), imported(0.4)
    save(network, tmp_path / "a.safetensors")
    found = load(tmp_path / "a.safetensors", ann=other)
    assert isinstance(found, SpikingNetwork)
    assert found.neurons["2"].threshold.item() == pytest.approx(0.7)
    assert other.neurons["2"].threshold.item() == pytest.approx(0.4)
    with pytest.raises(UsageError, match="timesteps are not those of the spiking network given"):
        load(tmp_path / "a.safetensors", ann=imported(0.4, timesteps=5))


def test_an_attribute_spec_of_the_users_is_not_taken_for_ours(tmp_path: Path) -> None:
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    ann.spec = "mine"
    network = convert(ann, torch.rand(8, 1, 2, 2), timesteps=2)
    save(network, tmp_path / "a.safetensors")
    assert isinstance(load(tmp_path / "a.safetensors", ann=ann), SpikingNetwork)
