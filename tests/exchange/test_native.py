"""A Python file for another library has the spikes of the network in every layer and timestep."""

import runpy
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.exchange import export, from_snntorch, from_spikingjelly
from hiresnn.exchange.native import write_native
from hiresnn.exchange.step_graph import free_identifier, step_graph
from hiresnn.network import record

from ..scripts import imported
from .small import images, network

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
LABELS = torch.zeros(4).long()


KINDS: dict[str, list[dict[str, Any]]] = {
    "snntorch": [{}, {"reset": "subtract"}, {"reset": "subtract-unleaked"}, {"leak": 1.0}, {"start": 0.5}],
    "spikingjelly": [{}, {"reset": "subtract"}, {"reset": "subtract", "leak": 1.0}, {"start": 0.5}],
    "sinabs": [{}, {"reset": "subtract"}, {"reset": "subtract", "leak": 1.0}, {"start": 0.5}],
}
"""Library -> the neurons that it has."""


def spikes_of(exported, names):
    """Logits and spikes of every layer and timestep, with hooks on the neurons of the library."""
    steps: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for name in names:
        neuron = exported.get_submodule(f"timestep.{name}")
        neuron.register_forward_hook(lambda _, inputs, output, name=name: steps[name].append(output.detach()))
    with torch.no_grad():
        logits = exported(images())
    return logits, {name: torch.stack(each) for name, each in steps.items()}


@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
@pytest.mark.parametrize(("library", "kind"), [(library, kind) for library in KINDS for kind in KINDS[library]])
def test_a_library_has_the_spikes_of_the_network_in_every_layer(library, model, kind, tmp_path):
    pytest.importorskip(library, exc_type=ImportError)
    subject = network(model, **kind)
    export(subject, tmp_path / "a.py", images(), LABELS, to=library)
    with torch.no_grad(), record(subject) as spikes:
        logits = subject(images())
    own = {free_identifier(name, ()): layer for name, layer in spikes.items()}
    found, layers = spikes_of(imported(tmp_path / "a.py").Network(), list(own))
    differing = {name: int((layers[name].reshape(layer.shape) != layer).sum()) for name, layer in own.items()}
    assert not any(differing.values()), differing
    assert all(layer.any() for layer in own.values())
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)
    if library == "sinabs" or "start" in kind:  # which no neuron of a library has, so it cannot come back
        return
    read = from_snntorch if library == "snntorch" else from_spikingjelly
    back = read(imported(tmp_path / "a.py").Network().timestep, subject.timesteps)  # and back again
    assert {neuron.fires_at_threshold for neuron in back.neurons.values()} == {library == "spikingjelly"}
    with torch.no_grad(), record(back) as returned:
        torch.testing.assert_close(back(images()), logits, rtol=0, atol=1e-6)
    assert all(torch.equal(here, there) for here, there in zip(returned.values(), spikes.values(), strict=True))


@pytest.mark.parametrize("library", ["spikingjelly", "sinabs"])
def test_a_file_compares_itself_when_it_is_run(library, tmp_path, capsys):
    pytest.importorskip(library, exc_type=ImportError)
    export(network("resnet12", reset="subtract"), tmp_path / "a.py", images(), LABELS, to=library)
    runpy.run_path(str(tmp_path / "a.py"), run_name="__main__")
    text = capsys.readouterr().out
    assert "0 of 4 decisions differ from hiresnn" in text
    assert float(text.split()[-1]) < 1e-4


def test_a_file_notices_other_weights(tmp_path, capsys):
    pytest.importorskip("snntorch", exc_type=ImportError)
    export(network(), tmp_path / "a.py", images(), LABELS, to="snntorch")
    tensors = load_file(tmp_path / "a.safetensors")
    tensors["linear3.weight"] = -tensors["linear3.weight"]
    save_file(tensors, tmp_path / "a.safetensors")
    runpy.run_path(str(tmp_path / "a.py"), run_name="__main__")
    assert "0 of 4 decisions" not in capsys.readouterr().out


def test_a_neuron_that_a_library_lacks_is_refused(tmp_path):
    for library, kind, message in (
        ("spikingjelly", {"reset": "subtract-unleaked"}, "'relu1' has reset \"subtract-unleaked\" and a leak"),
        ("spikingjelly", {"leak": 0.0}, "'relu1': SpikingJelly has no neuron with leak 0"),
    ):
        with pytest.raises(UsageError, match=message):
            export(network(**kind), tmp_path / "a.py", images(), LABELS, to=library)


class Leaky(nn.Module):
    """The attributes of snnTorch's neuron."""

    def __init__(self, **options):
        super().__init__()
        defaults = {"beta": torch.tensor(0.5), "threshold": torch.tensor(1.0), "init_hidden": True}
        for name, value in {**defaults, "reset_mechanism": "subtract", "reset_delay": False, **options}.items():
            setattr(self, name, value)


class Synaptic(nn.Module):
    """Another neuron of snnTorch."""

    reset_mechanism = "subtract"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Synaptic()], r"layer '1' \(Synaptic of snnTorch\) cannot be imported: only Leaky"),
        ([Leaky(init_hidden=False)], "layer '1' .*init_hidden=True"),
        ([Leaky(reset_mechanism="zero", reset_delay=True)], "layer '1' .* 'zero' with reset_delay=True"),
        ([Leaky(beta=torch.ones(3))], "layer '1' .* several values of threshold or beta"),
        ([nn.ReLU()], "has no neuron of snnTorch"),
        ([Leaky(), Leaky(reset_mechanism="zero")], "has neurons with the resets subtract, zero"),
        ([Leaky(), nn.ReLU()], "layer '2' .* is a ReLU"),
    ],
)
def test_a_snntorch_network_that_cannot_be_imported_is_refused_by_name(layers, message):
    with pytest.raises(UsageError, match=message):
        from_snntorch(nn.Sequential(nn.Flatten(), *layers, nn.Linear(3, 2)), 2)


class LIFNode(nn.Module):
    """SpikingJelly's neuron: v' = v + (x - v) / tau, or v - v / tau + x, with spikes at v >= v_threshold."""

    surrogate_function, step_mode = staticmethod(torch.sign), "s"

    def __init__(self, v_reset=None, decay_input=True, **options):
        super().__init__()
        self.tau, self.v_threshold, self.v_reset, self.decay_input = 2.0, 0.5, v_reset, decay_input
        vars(self).update(options)
        self.v: Any = 0.0

    def forward(self, x):
        self.v = self.v + (x - self.v) / self.tau if self.decay_input else self.v - self.v / self.tau + x
        spike = (self.v >= self.v_threshold).float()
        self.v = self.v - spike * (self.v if self.v_reset == 0 else self.v_threshold)
        return spike


@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("decay_input", [True, False])
def test_a_spikingjelly_neuron_is_read_by_its_equation(v_reset, decay_input):
    layers = nn.Sequential(nn.Flatten(), LIFNode(v_reset, decay_input), nn.Identity())
    back = from_spikingjelly(layers, 6)
    # Multiples of 1/4: every membrane is exact, and many are equal to the threshold.
    batch = torch.randint(0, 5, (3, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 4
    expected = sum(layers(batch) for _ in range(6))
    assert torch.equal(back(batch), expected)
    assert 0 < expected.mean() < 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"v_reset": 0.1}, "layer '1' .* v_reset is 0.1"),
        ({"step_mode": "m"}, "layer '1' .* takes all timesteps at once"),
    ],
)
def test_a_spikingjelly_neuron_that_cannot_be_imported_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        from_spikingjelly(nn.Sequential(nn.Flatten(), LIFNode(**options), nn.Linear(3, 2)), 2)


@pytest.mark.parametrize("source", ['a "quoted" """name', "run\\Nx", "line\nbreak"])
def test_any_name_of_a_network_gives_a_valid_file(source, tmp_path):
    subject = network("vgg5")
    logits = subject(images()).detach()
    path = tmp_path / "it's\\N.py"
    write_native(step_graph(subject, images()), path, "spikingjelly", images(), logits, source)
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
