"""A file of weights gives back the very network, is refused by name when it cannot, and never runs code."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from hiresnn import load
from hiresnn.app.networks import checksum, load_weights, save
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert, spiking_graph
from hiresnn.neurons import LIF, Linear

SHAPE: dict[str, Any] = {
    "in_channels": 1,
    "image_size": 8,
    "width": 0.0625,
    "hidden": 16,
    "mean": (0.3,),
    "std": (0.2,),
}


@pytest.fixture
def images():
    return torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ann():
    torch.manual_seed(0)
    return build("vgg5", 10, **SHAPE)


def own(units=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10))


def header(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["hiresnn"])


def write(path, tensors, text):
    metadata = {} if text is None else {"hiresnn": text if isinstance(text, str) else json.dumps(text)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)


def test_an_ann_comes_back_with_equal_logits(tmp_path, ann, images):
    save(ann, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert not loaded.training
    assert torch.equal(loaded(images), ann.eval()(images))


@pytest.mark.parametrize(
    "options",
    [
        {"leak": 0.9, "reset": "subtract-unleaked", "surrogate": Linear(0.7, 2.0)},
        {"reset": "zero", "condition": ">="},
        {"start": 0.5, "rescale": True},
        {"start": 0.5, "wait": True, "rescale": True},
        {"encoding": "poisson"},
    ],
)
@pytest.mark.parametrize("trainable", [True, False])
def test_a_spiking_network_comes_back_with_equal_logits_and_all_that_it_is(tmp_path, images, options, trainable):
    path = tmp_path / "a.safetensors"
    network = convert(build("vgg5", 10, batch_norm=True, **SHAPE), images, timesteps=5, **options)
    save(network.train_neurons_(trainable), path)
    loaded = load(path)
    assert isinstance(loaded, SpikingNetwork)
    torch.manual_seed(0)
    logits = loaded(images)
    torch.manual_seed(0)
    assert torch.equal(logits, network.eval()(images))
    assert (loaded.timesteps, loaded.encoding.encoding, loaded.spec) == (5, network.encoding.encoding, network.spec)
    assert loaded.neuron == network.neuron
    for name, lif in loaded.neurons.items():
        assert (lif.threshold.requires_grad, lif.leak.requires_grad) == (trainable, trainable)
        assert (lif.threshold, lif.leak) == (network.neurons[name].threshold, network.neurons[name].leak)
    # Options at their defaults are left out, as in version 0.2.
    names = {"start", "condition", "wait"}
    assert names & header(path)["spiking"].keys() == names & options.keys()


def test_double_precision_is_stored_and_read(tmp_path):
    network = build("vgg5", 3, **SHAPE).double()
    save(network, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert next(loaded.parameters()).dtype == torch.float64


def test_a_file_of_version_0_2_loads(tmp_path, ann, images):
    path = tmp_path / "a.safetensors"
    network = convert(ann, images, timesteps=3)
    spiking = {
        "timesteps": 3, "encoding": "direct", "reset": "subtract", "gamma": 0.3, "width": 1.0, "trainable": True,
    }  # fmt: skip
    stored = {"format": 1, "spec": ann.spec, "spiking": spiking, "checksum": checksum(network.state_dict())}
    write(path, network.state_dict(), stored)
    assert torch.equal(load(path)(images), network.eval()(images))
    save(network, path)
    assert json.dumps(header(path)) == json.dumps(stored)
    write(path, network.state_dict(), {**stored, "checksum": "0" * 64})
    with pytest.raises(RunError, match=r"a\.safetensors is damaged: its weights do not match their checksum"):
        load(path)


def test_timesteps_that_no_memory_holds_are_refused_in_a_file_and_for_one(tmp_path):
    ann = build("vgg5", 3, in_channels=1, image_size=8, width=0.1)
    network = convert(ann, torch.rand(4, 1, 8, 8), timesteps=2)
    save(network, path := tmp_path / "a.safetensors")
    stored = header(path)
    stored["spiking"]["timesteps"] = 10**6
    write(path, network.state_dict(), stored)
    with pytest.raises(RunError, match=r"timesteps.*10000"):
        load(path)
    network.timesteps = 10**6
    with pytest.raises(UsageError, match=r"1,000,000 timesteps"):
        save(network, path)


def test_the_checksum_is_that_of_version_0_2():
    # sha256sum of "a torch.float32 (1,)\n" and the bytes 00 00 80 3f, then of "b torch.bool ()\n" and 01
    expected = "45a9535e58be40daf2f54e732c3e36dc72a08d46c607ab64274d5bbef3799a4d"
    assert checksum({"b": torch.tensor(True), "a": torch.ones(1)}) == expected


@pytest.mark.parametrize("part", [b'"timesteps": 3', b'"reset": "subtrac', None])
def test_one_flipped_bit_is_noticed(tmp_path, ann, images, part):
    path = tmp_path / "a.safetensors"
    save(convert(ann, images, timesteps=3), path)
    content = bytearray(path.read_bytes())
    part = part and part.replace(b'"', b'\\"')
    content[-3 if part is None else content.index(part) + len(part) - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"a\.safetensors is damaged.* match .* checksum; copy it again"):
        load(path)


def test_a_network_of_ones_own_comes_back_with_its_ann(tmp_path, images):
    path = tmp_path / "a.safetensors"
    network = convert(own(), images, timesteps=4).eval()
    save(network, path)
    with pytest.raises(RunError, match=r"holds a network of your own; pass its ANN: hiresnn\.load\(path, ann="):
        load(path)
    loaded = load(path, ann=own())  # other weights: only the structure counts
    assert torch.equal(loaded(images), network(images))
    ann = own()
    ann.spec = "mine"
    assert isinstance(load(path, ann=ann), SpikingNetwork)  # an attribute of the user's is not taken for ours
    with pytest.raises(RunError, match=r"a\.safetensors belongs to another architecture .size mismatch for"):
        load(path, ann=own(13))


def test_tied_weights_are_saved_and_loaded(tmp_path, images):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            size = images[0].numel()
            self.first = nn.Linear(size, size, bias=False)
            self.second = nn.Linear(size, size, bias=False)
            self.second.weight = self.first.weight
            self.out, self.relu = nn.Linear(size, 3), nn.ReLU()

        def forward(self, x):
            return self.out(self.relu(self.second(self.relu(self.first(x.flatten(1))))))

    network = convert(Tied(), images, timesteps=4)
    save(network, tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path / "a.safetensors", ann=Tied())(images), network.eval()(images))


def test_an_imported_network_is_read_with_one_of_the_same_structure(tmp_path):
    def imported(threshold, timesteps=3):
        network = spiking_graph(own(), timesteps)
        network.neurons["2"].threshold.data.fill_(threshold)
        return network

    other = imported(0.4)
    save(imported(0.7), tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors", ann=other)
    assert loaded.neurons["2"].threshold.item() == pytest.approx(0.7)
    assert other.neurons["2"].threshold.item() == pytest.approx(0.4)
    with pytest.raises(UsageError, match="timesteps are not those of the spiking network given"):
        load(tmp_path / "a.safetensors", ann=imported(0.4, timesteps=5))


def test_a_network_that_a_file_cannot_describe_is_not_saved(tmp_path, ann, images):
    with pytest.raises(UsageError, match="Sequential is no hiresnn network; save its state_dict yourself"):
        save(own(), tmp_path / "a.safetensors")
    network = convert(ann, images, timesteps=4)
    first: LIF = next(iter(network.neurons.values()))
    first.reset = "subtract-unleaked"
    with pytest.raises(UsageError, match="the neurons differ in reset"):
        save(network, tmp_path / "a.safetensors")
    for lif in network.neurons.values():
        lif.reset, lif.surrogate = "subtract", abs
    with pytest.raises(UsageError, match=r"a file can hold only the linear rule of Eq\. 5"):
        save(network, tmp_path / "a.safetensors")
    ann.get_parameter("linear1.weight").data[0, 0] = math.nan
    with pytest.raises(RunError, match="not finite"):
        save(ann, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


SPEC = {"name": "vgg5", "num_classes": 2, "width": 0.01, "hidden": 1}
WEIGHT = {"weight": torch.zeros(20_000)}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, r"there is no file .*a\.safetensors; name a model\.safetensors that hiresnn wrote"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-9]), r"a\.safetensors is damaged or cut short"),
    "without header": (lambda p: write(p, WEIGHT, None), r"the header of .*a\.safetensors is damaged"),
    "unknown argument": (
        lambda p: write(p, WEIGHT, {"format": 1, "spec": {**SPEC, "depth": 5}}),
        "describes no network",
    ),
    "newer": (lambda p: write(p, WEIGHT, {"format": 2}), r"format: .* equal to 1.*, or update hiresnn if a later"),
    "other weights": (
        lambda p: write(p, WEIGHT, {"format": 1, "spec": SPEC}),
        r"a\.safetensors belongs to another architecture \(Unexpected key\(s\) in state_dict: \"weight\"",
    ),
    "infinite": (
        lambda p: write(p, {"weight": torch.tensor([math.inf])}, {"format": 1, "spec": SPEC}),
        r"a\.safetensors: 'weight' holds numbers that are not finite",
    ),
    "float8": (
        lambda p: write(p, {"weight": torch.zeros(9).to(torch.float8_e4m3fn)}, {"format": 1, "spec": SPEC}),
        r"a\.safetensors: 'weight' is torch\.float8_e4m3fn in torch\.strided",
    ),
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_a_bad_file_is_refused_by_what_is_wrong_with_it(tmp_path, ann, fault):
    path = tmp_path / "a.safetensors"
    save(ann, path)
    spoil, message = BAD[fault]
    spoil(path)
    with pytest.raises(RunError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 500.0}, {"hidden": 10**6}, {"num_classes": 10**6}, {"image_size": 10**4}, {"hidden": 10**18},
        {"width": 1e308}, {"in_channels": 10**12}, {"width": "x"}, {"mean": [[[1]]]}, {"name": "vgg99"},
    ],
)  # fmt: skip
def test_a_small_file_cannot_allocate_much_memory(tmp_path, ann, change, monkeypatch):
    path = tmp_path / "a.safetensors"
    largest = sum(parameter.numel() for parameter in ann.parameters())
    initialise = torch.nn.init.kaiming_normal_

    def guarded(tensor, **options):
        assert tensor.is_meta or tensor.numel() <= largest
        return initialise(tensor, **options)

    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", guarded)
    write(path, ann.state_dict(), {"format": 1, "spec": {**ann.spec, **change}})
    with pytest.raises(RunError, match=r"a\.safetensors (is damaged|describes no network)") as caught:
        load(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("wrapping", ["plain", "checkpoint", "safetensors", "DataParallel", "run"])
def test_weights_of_other_files_are_loaded_by_name(tmp_path, wrapping):
    network, other = own(), own()
    state, path = network.state_dict(), tmp_path / ("w.safetensors" if wrapping == "safetensors" else "w.pt")
    wrapped: dict[str, object] = {
        "plain": state,
        "checkpoint": {"epoch": 3, "model": {"state_dict": state, "lr": 0.1}},
        "DataParallel": {f"module.{name}": value for name, value in state.items()},
        "run": {f"network.{name}": value for name, value in state.items()} | {"normalise.mean": torch.zeros(1)},
    }
    save_file(state, path) if wrapping == "safetensors" else torch.save(wrapped[wrapping], path)
    load_weights(other, path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in state.items())


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


def changed(**changes):
    state = own().state_dict()
    return lambda path: torch.save(state | {name.replace("_", "."): value for name, value in changes.items()}, path)


@pytest.mark.parametrize(
    ("write_to", "message"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.write_text("junk"), "is damaged or of another format"),
        (lambda path: path.write_bytes(pickle.dumps(Malicious(path.parent / "pwned"))), "of another format"),
        (lambda path: torch.save({"a": Malicious(path.parent / "pwned")}, path), "would run code, getattr"),
        (lambda path: torch.save([1, 2], path), "holds a list, not a state_dict"),
        (lambda path: torch.save({"a": torch.zeros(1)}, path), r"do not fit the network: it lacks '1\.weight' and"),
        (changed(**{"3_bias": torch.zeros(3)}), r"size mismatch for 3\.bias: .*\[3\].*\[10\]"),
        (changed(**{"3_bias": torch.full((10,), torch.nan)}), r"'3\.bias' holds numbers that are not finite"),
        (changed(**{"3_bias": torch.full((10,), 1e300, dtype=torch.float64)}), r"'3\.bias' .* not finite"),
        (changed(**{"3_weight": torch.eye(10, 12).to_sparse()}), r"'3\.weight' is torch\.float32 in torch\.sparse_coo"),
        (changed(**{"3_bias": torch.ones(10) * 1j}), r"torch\.complex64 .*, not real numbers"),
    ],
)
def test_other_files_of_weights_are_refused_and_run_no_code(tmp_path, write_to, message):
    write_to(tmp_path / "w.pt")
    with pytest.raises(HiresnnError, match=message) as caught:
        load_weights(own(), tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()
