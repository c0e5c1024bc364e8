"""A file of weights gives back the very network, is refused by name when it cannot, and never runs code."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import hiresnn
from hiresnn.errors import RunError, UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert
from hiresnn.neurons import LIF, Linear
from hiresnn.runs.checkpoint import load, read_resume, resume_bytes, save

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
    with pytest.raises(UsageError, match="the neurons differ in reset, surrogate or trainability"):
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


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    state = {"stage": "SNN", "kappa": torch.rand(2, 3), "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}], "none": None}
    (tmp_path / "resume.pt").write_bytes(resume_bytes(state))
    loaded = read_resume(tmp_path / "resume.pt")
    assert torch.equal(loaded.pop("kappa"), state.pop("kappa"))  # type: ignore[arg-type]
    assert loaded == state


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_a_training_state_cannot_run_code(tmp_path: Path, how: str) -> None:
    path, victim = tmp_path / "resume.pt", tmp_path / "pwned"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"stage": Malicious(victim)}))
        pickle.loads(path.read_bytes())
    else:
        torch.save({"stage": Malicious(victim)}, path)
        torch.load(path, weights_only=False)
    assert victim.exists(), "the trap works where it is let"
    victim.unlink()
    with pytest.raises(RunError, match=r"resume\.pt is damaged \(UnpicklingError\); delete it to train from the start"):
        read_resume(path)
    assert not victim.exists()


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_training_state_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "resume.pt"
    path.write_bytes(resume_bytes({"model": torch.zeros(100)})[:length])
    with pytest.raises(RunError, match=r"resume\.pt is damaged \(\w+\); delete it to train from the start"):
        read_resume(path)


def test_a_file_of_tensors_alone_is_no_training_state(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "resume.pt")
    with pytest.raises(RunError, match=r"resume\.pt is no training state; delete it to train from the start"):
        read_resume(tmp_path / "resume.pt")
