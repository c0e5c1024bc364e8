"""The graph of one timestep has every layer once, with the sources whose sum enters it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.exchange import step_graph
from hiresnn.exchange.export import answers
from hiresnn.network import spiking_graph
from hiresnn.neurons import LIF

from .small import T, images, network


def presented(graph, batch):
    """Logits and spikes by a slow loop over the graph, in float64: an implementation without the package's scan."""
    left: dict[str, Tensor] = {}
    spikes: dict[str, list[Tensor]] = {}
    logits = torch.zeros((), dtype=torch.float64)
    for _ in range(graph.timesteps):
        values = {"input": batch}
        for node in graph.nodes:
            x = sum(values[source] for source in node.sources)
            if isinstance(node.layer, LIF):
                threshold, leak = node.layer.threshold, node.layer.leak
                u = left.get(node.name, 0) + x
                x = (u > threshold).double()
                left[node.name] = leak * torch.where(u > threshold, 0, u)
                spikes.setdefault(node.name, []).append(x)
            else:
                x = node.layer(x)
            values[node.name] = x
        logits = logits + sum(values[source] for source in graph.outputs)
    return logits, {name: torch.stack(steps) for name, steps in spikes.items()}


@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
def test_the_graph_computes_the_network(model):
    subject, batch = network(model).double(), images().double()
    graph = step_graph(subject, batch)
    assert (graph.timesteps, graph.image) == (T, (3, 8, 8))
    with torch.no_grad():
        logits, spikes = presented(graph, batch)
        torch.testing.assert_close(logits, subject(batch), rtol=0, atol=1e-9)
    assert [node.name for node in graph.neurons] == [name.replace(".", "_") for name in subject.neurons]
    assert all(layer.any() for layer in spikes.values())
    for node in graph.nodes:
        assert graph.shape_of(node.name) == node.shape


@pytest.mark.parametrize("look", [step_graph, answers])
def test_the_mode_of_every_layer_stays(look):
    subject = network().train()
    subject.neurons["relu2"].eval()
    look(subject, images())
    assert [name for name, module in subject.named_modules() if not module.training] == ["layers.relu2"]


class Functional(nn.Module):
    """A layer that is called as a function, or a sum of a tensor with itself."""

    def __init__(self, what):
        super().__init__()
        self.what, self.first, self.last = what, nn.Conv2d(3, 2, 3, padding=1), nn.Linear(128, 2)

    def forward(self, batch):
        rows = torch.relu(self.first(batch))
        if self.what == "twice":
            rows = rows + rows
        elif self.what == "constant":
            rows = rows + 1
        elif self.what == "max":
            rows = F.max_pool2d(rows, 1)
        elif self.what == "permute":
            rows = rows.permute(1, 0, 2, 3).permute(1, 0, 2, 3)
        return self.last(rows.flatten(1))


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), "'2' is a MaxPool2d"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2)), "'2' is an AdaptiveAvgPool2d"),
        (nn.Sequential(nn.Conv2d(3, 2, 3, padding="same"), nn.ReLU()), "'0' pads with 'zeros', 'same'"),
        (nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU()), "'0' pads with 'reflect'"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AvgPool2d(4, ceil_mode=True)), "'2' uses ceil_mode"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(2)), "'2' does not flatten all"),
        (Functional("twice"), "'add' adds a tensor to itself"),
        (Functional("constant"), "'add' cannot be exported"),
        (Functional("max"), "max_pool2d.* cannot be exported"),
        (Functional("permute"), "'permute' moves the batch out of the first dimension"),
    ],
)
def test_what_other_formats_cannot_express_is_refused_by_name(ann, message):
    with pytest.raises(UsageError, match=message):
        step_graph(spiking_graph(ann, 2), images())


def test_poisson_spikes_are_refused():
    with pytest.raises(UsageError, match="random spikes"):
        step_graph(network(encoding="poisson"), images())


def test_a_layer_that_waits_is_refused_unless_its_input_is_constant():
    with pytest.raises(UsageError, match="waits for the layer before"):
        step_graph(network(wait=True), images())
    ann = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(step_graph(spiking_graph(ann, 2, wait=True), images()).nodes) == 4


def test_a_network_whose_layers_have_numbers_gets_names_that_are_identifiers():
    ann = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    graph = step_graph(spiking_graph(ann, 2), images())
    assert [node.name for node in graph.nodes] == ["layer_0", "layer_1", "layer_2", "layer_3", "layer_4"]
    rows = torch.rand(1, 2, 6, 6)
    torch.testing.assert_close(graph.nodes[2].layer(rows), rows.mean((2, 3), keepdim=True))


def test_a_linear_layer_over_feature_maps_is_refused_and_taken_names_get_a_number():
    ann = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Linear(2, 3), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(UsageError, match="'2' gets more than one vector per image"):
        step_graph(spiking_graph(ann, 2), torch.rand(1, 1, 2, 2))
    named = nn.Sequential()
    for name, layer in (("images", nn.Flatten()), ("training_", nn.Linear(4, 3)), ("relu", nn.ReLU()),
                        ("check", nn.Linear(3, 2))):  # fmt: skip
        named.add_module(name, layer)
    graph = step_graph(spiking_graph(named, 2), torch.rand(1, 1, 2, 2))
    assert [node.name for node in graph.nodes] == ["images_2", "training_", "relu", "check_2"]
