"""Networks of other programs become networks of hiresnn with the same spikes, or the node that cannot is named."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hiresnn.attacks import parse
from hiresnn.errors import UsageError
from hiresnn.exchange import from_nir, run_nir, step_graph, to_nir, write_nir
from hiresnn.network import SpikingNetwork, convert, record

from .small import PIXELS, T, counter, images, network

nir = pytest.importorskip("nir", exc_type=ImportError)


def spikes(subject: SpikingNetwork) -> list[torch.Tensor]:
    with torch.no_grad(), record(subject) as found:
        subject(images())
    return list(found.values())


@pytest.mark.parametrize("kind", [{}, {"leak": 1.0}, {"reset": "subtract"}])
@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
def test_a_network_that_goes_to_nir_and_back_is_the_same(model: str, kind: dict[str, Any], tmp_path: Path) -> None:
    subject = network(model, **kind)
    write_nir(step_graph(subject, images()), tmp_path / "a.nir")
    back = from_nir(tmp_path / "a.nir", reset=kind.get("reset", "zero"))
    assert back.timesteps == T
    for here, there in zip(spikes(subject), spikes(back), strict=True):
        assert torch.equal(here, there)
    torch.testing.assert_close(back(images()), subject(images()), rtol=0, atol=1e-5)
    own, other = subject.state_dict(), back.state_dict()
    # The normalisation, and the pooling of a residual network, come back as convolutions.
    for name in (name for name in other if name.endswith("weight") and not re.search("normalise|pool1", name)):
        assert any(torch.equal(other[name], weight) for weight in own.values())


@pytest.mark.parametrize("rule", ["arctan", "bptr", "rga", "assg", "conversion"])
def test_a_network_from_nir_has_every_gradient_rule(rule: str) -> None:
    back = from_nir(to_nir(step_graph(network(), images())))
    attack = parse(f"pgd:iterations=1,rule={rule}")
    assert not torch.equal(attack(back, images(), torch.arange(4)), images())


def test_neurons_of_another_scale_are_read_by_the_equation() -> None:
    # tau = 2 dt: v takes half of r I at each step and keeps half of itself, so u = v / (r / 2), with threshold
    # 0.6 / (3 / 2) = 0.4 and leak 0.5.
    graph = to_nir(step_graph(counter(), PIXELS))
    ones = np.ones(1, np.float32)
    values = {"tau": 2e-4, "r": 3, "v_leak": 0, "v_threshold": 0.6, "v_reset": 0}
    graph.nodes["layer_2"] = nir.LIF(**{name: value * ones for name, value in values.items()})
    back = from_nir(graph)
    assert [(neuron.threshold.item(), neuron.leak.item()) for neuron in back.neurons.values()] == [
        (pytest.approx(0.4), pytest.approx(0.5))
    ]
    with torch.no_grad(), record(back) as found:
        back(PIXELS)
    assert torch.equal(found["layer_2"], run_nir(graph, PIXELS, 4).spikes["layer_2"])


def test_a_sum_that_no_weights_take_up_stays_a_sum() -> None:
    ann = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 2))
    graph = to_nir(step_graph(_converted(ann), images()))
    graph.edges = [edge for edge in graph.edges if edge[1] not in ("layer_4", "output")]
    del graph.nodes["layer_4"]
    graph.edges.append(("layer_3", "output"))
    torch.testing.assert_close(from_nir(graph)(images()).double(), run_nir(graph, images(), T).logits)


def _converted(ann: nn.Module) -> SpikingNetwork:
    torch.manual_seed(0)
    return convert(ann, images(), timesteps=T, reset="zero").eval()


def _changed(**values: Any) -> Any:
    graph = to_nir(step_graph(counter(), PIXELS))
    for name, value in values.items():
        setattr(graph.nodes["layer_2"], name, np.asarray(value, np.float32))
    return graph


def _replaced(node: Any) -> Any:
    graph = to_nir(step_graph(counter(), PIXELS))
    graph.nodes["layer_2"] = node
    return graph


def _with_edge(source: str, target: str) -> Any:
    graph = to_nir(step_graph(counter(), PIXELS))
    if target == "second":
        graph.nodes["second"] = graph.nodes["output"]
    graph.edges.append((source, target))
    return graph


def _not_finite(name: str, attribute: str) -> Any:
    graph = to_nir(step_graph(counter(), PIXELS))
    getattr(graph.nodes[name], attribute)[:] = float("inf")
    return graph


def _timeless() -> Any:
    graph = to_nir(step_graph(counter(), PIXELS))
    graph.metadata = {}
    return graph


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _changed(v_threshold=[1, 2]), "node 'layer_2' .* has 2 values of v_threshold"),
        (lambda: _changed(v_leak=[0.5]), "node 'layer_2' .* v_leak = 0.5"),
        (lambda: _changed(v_reset=[0.5]), "node 'layer_2' .* v_reset = 0.5"),
        (lambda: _changed(tau=[1e-5]), "node 'layer_2' .* leak -9"),
        (lambda: _replaced(nir.Delay(np.ones(1))), "node 'layer_2' .* is a Delay"),
        (lambda: _with_edge("layer_3", "second"), "2 nodes Output"),
        (lambda: _with_edge("ghost", "layer_2"), "names 'ghost', which is no node"),
        (lambda: _not_finite("layer_1", "weight"), "weights that are not finite"),
        (lambda: _not_finite("layer_2", "v_threshold"), "threshold inf"),
        (_timeless, "give timesteps"),
    ],
)
def test_a_node_that_cannot_be_imported_is_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_nir(make())


@pytest.mark.parametrize("names", [("a.b", "a_b"), ("training", "forward"), ("a_b", "a.b")])
def test_names_that_are_equal_or_taken_as_identifiers_are_told_apart(names: tuple[str, str]) -> None:
    graph = to_nir(step_graph(counter(reset="zero"), PIXELS))
    renamed = dict(zip(("layer_1", "layer_3"), names, strict=True))
    graph.nodes = {renamed.get(name, name): node for name, node in graph.nodes.items()}
    graph.edges = [(renamed.get(source, source), renamed.get(target, target)) for source, target in graph.edges]
    assert torch.equal(from_nir(graph)(PIXELS), counter(reset="zero")(PIXELS))


def test_a_file_that_is_missing_or_no_nir_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*a\.nir"):
        from_nir(tmp_path / "a.nir")
    (tmp_path / "a.nir").write_text("notes")
    with pytest.raises(UsageError, match=r"a\.nir is not a NIR file: .*OSError"):
        from_nir(tmp_path / "a.nir")
