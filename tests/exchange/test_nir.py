"""A NIR file, solved as differential equations, gives the spikes of the network, and is read as a network again."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from hiresnn.attacks import parse
from hiresnn.errors import UsageError
from hiresnn.exchange import DIALECTS, READERS, Reader, export, from_nir, run_nir, step_graph, to_nir, write_nir
from hiresnn.exchange.nir import unsupported
from hiresnn.exchange.step_graph import free_identifier
from hiresnn.network import convert, record, spiking_graph

from .small import CLASSES, PIXELS, T, counter, images, network

nir = pytest.importorskip("nir", exc_type=ImportError)
h5py = pytest.importorskip("h5py", exc_type=ImportError)


def differing(subject, graph, batch, reader=READERS["NIR"]):
    """Spikes that differ in each layer."""
    subject = subject.double()
    with torch.no_grad(), record(subject) as spikes:
        logits = subject(batch.double())
    found = run_nir(graph, batch, subject.timesteps, reader)
    layers = {free_identifier(name, ()): layer for name, layer in spikes.items()}
    assert list(layers) == list(found.spikes)
    if not (counts := {name: int((layer != found.spikes[name]).sum()) for name, layer in layers.items()}):
        raise AssertionError("no layers")
    if not any(counts.values()):
        assert (found.logits.argmax(1) == logits.argmax(1)).all()
        torch.testing.assert_close(found.logits, logits, rtol=0, atol=1e-4)
    return counts


@pytest.mark.parametrize("leak", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
def test_a_file_has_the_spikes_of_the_network_in_every_layer(model, leak, tmp_path):
    subject = network(model, leak=leak)
    write_nir(step_graph(subject, images()), tmp_path / "a.nir")
    graph = nir.read(tmp_path / "a.nir")
    assert not any(differing(subject, graph, images()).values())


@pytest.mark.parametrize("reader", ["norse", "portable"])
def test_the_time_step_of_a_dialect_cancels(reader):
    subject = network()
    graph = to_nir(step_graph(subject, images()), reader)
    assert not any(differing(subject, graph, images(), Reader(dt=DIALECTS[reader])).values())


@pytest.mark.parametrize(
    ("node", "attribute", "factor"),
    [("LIF", "tau", 10), ("LIF", "r", 1.5), ("normalise", "bias", 0), ("conv2", "weight", 4)],
)
def test_a_wrong_file_is_noticed(node, attribute, factor):
    subject = network()
    graph = to_nir(step_graph(subject, images()))
    for name, found in graph.nodes.items():
        if node in (name, type(found).__name__):
            setattr(found, attribute, getattr(found, attribute) * factor)
    assert any(differing(subject, graph, images()).values())


def test_the_numbers_of_a_neuron_are_those_of_the_equation():
    subject = counter(leak=0.75, reset="zero")
    graph = to_nir(step_graph(subject, PIXELS))
    node = graph.nodes["layer_2"]
    assert node.tau.tolist() == pytest.approx([4e-4])  # dt / (1 - leak)
    assert node.v_threshold.tolist() == [0.25]  # (1 - leak) threshold
    assert (node.r.tolist(), node.v_leak.tolist(), node.v_reset.tolist()) == ([1], [0], [0])
    assert graph.nodes["layer_1"].bias.tolist() == [0]  # a layer without bias gets one
    assert sorted(graph.edges) == [
        ("input", "layer_0"), ("layer_0", "layer_1"), ("layer_1", "layer_2"), ("layer_2", "layer_3"),
        ("layer_3", "output"),
    ]  # fmt: skip


def test_a_pooling_is_a_sum_whose_factor_is_in_the_next_weights():
    subject = network()
    graph = to_nir(step_graph(subject, images()))
    assert isinstance(graph.nodes["pool1"], nir.SumPool2d)
    weight = dict(subject.named_parameters())["layers.conv2.weight"].detach().numpy()
    assert np.array_equal(graph.nodes["conv2"].weight, weight / 4)
    assert np.array_equal(
        graph.nodes["linear1"].weight, dict(subject.named_parameters())["layers.linear1.weight"].detach().numpy() / 4
    )  # behind a Flatten


def test_the_loss_that_is_printed_is_the_one_worked_out_by_hand(tmp_path):
    found = export(counter(), tmp_path / "a.nir", PIXELS, CLASSES, to="nir")
    assert "reset to zero" in found.unsupported[0]
    for comparison in found.comparisons:
        assert (comparison.before.compute(), comparison.after.compute()) == (100, 50)
        assert (comparison.decisions, comparison.images, comparison.first_layer) == (1, 2, "layer_2")
        # Of the pixel 0.9 the spikes at steps 3 and 4 differ: 0 1 1 1 and 0 1 0 1. Those of 0.6 are equal.
        assert comparison.spikes == {"layer_2": 1}
        assert comparison.logits == 1
    assert "clean 100.0 -> 50.0, 1 of 2 decisions change, first layer that differs: layer_2" in str(found)


def test_a_library_that_fails_is_named_and_hides_no_other(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such\n layer")

    def reads():
        return lambda batch: (torch.zeros(len(batch), 2), {})

    libraries = {"cannot read": fails, "cannot run": lambda: fails, "norse 1.0": reads}
    monkeypatch.setattr(sys.modules["hiresnn.exchange.export"], "library_readers", lambda *_: libraries)
    found = export(counter(reset="zero"), tmp_path / "a.nir", PIXELS, CLASSES, to="nir")
    reason = "is installed but cannot run the file, so it is not compared (RuntimeError: no such layer)"
    assert found.unsupported == [f"cannot read {reason}", f"cannot run {reason}"]
    assert [comparison.name for comparison in found.comparisons][2:] == ["norse 1.0"]


def test_a_network_with_reset_to_zero_loses_nothing(tmp_path):
    found = export(counter(reset="zero"), tmp_path / "a.nir", PIXELS, CLASSES, to="nir")
    assert found.unsupported == []
    assert {comparison.decisions for comparison in found.comparisons} == {0}
    assert {comparison.first_layer for comparison in found.comparisons} == {""}


def test_a_reader_that_spikes_at_the_threshold_is_told_from_one_that_does_not():
    # Pixels of 0.5 without leak at threshold 1: u = 0.5 1.0 and so on; 0.5 and 1 are exact as multiples of the file's
    # threshold only where the leak is below 1, so the leak is 0 and the pixel equals the threshold.
    subject, pixel = counter(leak=0.0, reset="zero"), torch.ones(1, 1, 1, 1)
    graph = to_nir(step_graph(subject, pixel))
    counts = {name: int(run_nir(graph, pixel, 4, READERS[name]).spikes["layer_2"].sum()) for name in READERS}
    assert counts == {"NIR": 0, "snnTorch": 0, "norse": 0, "SpikingJelly": 4}


def test_what_a_file_cannot_say_is_listed():
    kinds = {"reset": "subtract", "start": 0.5, "condition": ">="}
    found = unsupported(step_graph(network(**kinds), images()), "portable")
    assert [word in line for word, line in zip(("reset", "start", "condition"), found, strict=True)] == [True] * 3


def test_a_loop_and_another_node_are_refused():
    graph = to_nir(step_graph(counter(), PIXELS))
    graph.edges.append(("layer_2", "layer_1"))
    with pytest.raises(UsageError, match="part of a loop"):
        run_nir(graph, PIXELS, 1)
    graph.edges.pop()
    graph.nodes["layer_2"] = nir.Delay(np.ones(1))
    with pytest.raises(UsageError, match="node 'layer_2' of the NIR file is a Delay"):
        run_nir(graph, PIXELS, 1)


class SumBeforeFlatten(nn.Module):
    """A pooling and neurons without one are added, and their sum is flattened."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 2, 2, stride=2)
        self.pool, self.last = nn.AvgPool2d(2), nn.Linear(32, 3)

    def forward(self, x):
        return self.last((self.pool(torch.relu(self.wide(x))) + torch.relu(self.narrow(x))).flatten(1))


def test_the_factor_of_a_pooling_is_not_taken_from_what_is_added_to_it():
    torch.manual_seed(0)
    subject = spiking_graph(SumBeforeFlatten(), T, leak=0.8, reset="zero").eval()
    for neuron in subject.neurons.values():
        neuron.threshold.data.fill_(0.2)
    graph = to_nir(step_graph(subject, images()))
    assert not any(differing(subject, graph, images()).values())
    graph.nodes["pool"] = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    back, logits = from_nir(graph), run_nir(graph, images(), T).logits
    torch.testing.assert_close(back(images()).double(), logits, rtol=0, atol=1e-5)


def test_an_unknown_reader_or_format_is_refused(tmp_path):
    for options, message in (
        ({"to": "nir", "reader": "brian"}, "reader is 'brian'; choose one of portable"),
        ({"to": "tflite"}, "format is 'tflite'; choose one of nir, onnx"),
        ({"to": "onnx", "reader": "norse"}, "only a NIR file has dialects"),
    ):
        with pytest.raises(UsageError, match=message):
            export(counter(), tmp_path / "a.nir", PIXELS, CLASSES, **options)


def test_strides_groups_and_padding_are_kept():
    torch.manual_seed(3)
    ann = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(6, 4, 2, dilation=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
    )
    subject = spiking_graph(ann, T, leak=0.8, reset="zero").eval()
    for neuron in subject.neurons.values():
        neuron.threshold.data.fill_(0.2)
    graph = to_nir(step_graph(subject, images()))
    assert isinstance(graph.nodes["layer_2"], nir.Conv2d)  # neurons follow the pooling
    assert not any(differing(subject, graph, images()).values())


@pytest.mark.parametrize(
    ("pixels", "classes", "message"),
    [
        (255 * PIXELS, CLASSES, "divide by 255"),
        (PIXELS, CLASSES[:1], "one whole number per image"),
        (PIXELS[:0], CLASSES[:0], "no images"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(pixels, classes, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(counter(), tmp_path / "a.nir", pixels, classes, to="nir")
    assert not (tmp_path / "a.nir").exists()


def test_windows_that_are_not_square_are_refused(tmp_path):
    ann = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 2, 2))
    with pytest.raises(UsageError, match="windows of 1 x 3 pixels, but nir handles only square ones"):
        write_nir(step_graph(spiking_graph(ann, 2), torch.rand(1, 1, 4, 4)), tmp_path / "a.nir")


@pytest.mark.parametrize("name", ["a.nir", "a.h5"])
def test_an_export_replaces_its_own_file_and_no_other(name, tmp_path):
    path = tmp_path / name
    for _ in range(2):
        export(counter(), path, PIXELS, CLASSES, to="nir")
    with h5py.File(path, "w") as file:  # somebody's images
        file["images"] = np.zeros(3)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not written by hiresnn"):
        export(counter(), path, PIXELS, CLASSES, to="nir")
    assert path.read_bytes() == before


def with_weight(path, replace):
    """Write a network, and let `replace` put something else where the weights of its linear layer are."""
    write_nir(step_graph(counter(), PIXELS[:1]), path)
    with h5py.File(path, "r+") as file:
        nodes = file["node/nodes"]
        name = next(name for name in nodes if "weight" in nodes[name])
        del nodes[name]["weight"]
        replace(nodes[name], "weight")


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (lambda node, name: node.__setitem__(name, h5py.ExternalLink("other.h5", "/secret")), "is a link"),
        (lambda node, name: node.__setitem__(name, h5py.SoftLink("/elsewhere")), "is a link"),
        (lambda node, name: node.create_dataset(name, (2, 2), "f4", external=[("other.bin", 0, 16)]), "another file"),
        (lambda node, name: node.create_dataset(name, (10**5, 10**4), "f4", chunks=True, compression="gzip"), "4.0 GB"),
    ],
    ids=["external link", "soft link", "external storage", "expanding"],
)
def test_a_file_that_reads_another_one_or_fills_the_memory_is_refused(replace, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.bin").write_bytes(b"0123456789abcdef")  # what a crafted file would read into the weights
    with h5py.File("other.h5", "w") as file:
        file["secret"] = np.ones((2, 2), np.float32)
    with_weight(tmp_path / "a.nir", replace)
    with pytest.raises(UsageError, match=message):
        from_nir(tmp_path / "a.nir")


def spikes(subject):
    with torch.no_grad(), record(subject) as found:
        subject(images())
    return list(found.values())


@pytest.mark.parametrize("kind", [{}, {"leak": 1.0}, {"reset": "subtract"}])
@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
def test_a_network_that_goes_to_nir_and_back_is_the_same(model, kind, tmp_path):
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
def test_a_network_from_nir_has_every_gradient_rule(rule):
    back = from_nir(to_nir(step_graph(network(), images())))
    attack = parse(f"pgd:iterations=1,rule={rule}")
    assert not torch.equal(attack(back, images(), torch.arange(4)), images())


def test_neurons_of_another_scale_are_read_by_the_equation():
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


def test_a_sum_that_no_weights_take_up_stays_a_sum():
    ann = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 2))
    torch.manual_seed(0)
    graph = to_nir(step_graph(convert(ann, images(), timesteps=T, reset="zero").eval(), images()))
    graph.edges = [edge for edge in graph.edges if edge[1] not in ("layer_4", "output")]
    del graph.nodes["layer_4"]
    graph.edges.append(("layer_3", "output"))
    torch.testing.assert_close(from_nir(graph)(images()).double(), run_nir(graph, images(), T).logits)


@pytest.mark.parametrize(
    ("name", "attribute", "value", "message"),
    [
        ("layer_2", "v_threshold", [1, 2], "node 'layer_2' .* has 2 values of v_threshold"),
        ("layer_2", "v_leak", [0.5], "node 'layer_2' .* v_leak = 0.5"),
        ("layer_2", "v_reset", [0.5], "node 'layer_2' .* v_reset = 0.5"),
        ("layer_2", "tau", [1e-5], "node 'layer_2' .* leak -9"),
        ("layer_2", "v_threshold", [np.inf], "threshold inf"),
        ("layer_1", "weight", [[np.inf]], "weights that are not finite"),
    ],
)
def test_a_node_that_cannot_be_imported_is_named(name, attribute, value, message):
    graph = to_nir(step_graph(counter(), PIXELS))
    setattr(graph.nodes[name], attribute, np.asarray(value, np.float32))
    with pytest.raises(UsageError, match=message):
        from_nir(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph.nodes.update(layer_2=nir.Delay(np.ones(1))), "node 'layer_2' .* is a Delay"),
        (lambda graph: graph.nodes.update(second=graph.nodes["output"]), "2 nodes Output"),
        (lambda graph: graph.edges.append(("ghost", "layer_2")), "names 'ghost', which is no node"),
        (lambda graph: graph.metadata.clear(), "give timesteps"),
    ],
)
def test_a_graph_that_cannot_be_imported_is_refused(change, message):
    graph = to_nir(step_graph(counter(), PIXELS))
    change(graph)
    with pytest.raises(UsageError, match=message):
        from_nir(graph)


@pytest.mark.parametrize("names", [("a.b", "a_b"), ("training", "forward"), ("a_b", "a.b")])
def test_names_that_are_equal_or_taken_as_identifiers_are_told_apart(names):
    graph = to_nir(step_graph(counter(reset="zero"), PIXELS))
    renamed = dict(zip(("layer_1", "layer_3"), names, strict=True))
    graph.nodes = {renamed.get(name, name): node for name, node in graph.nodes.items()}
    graph.edges = [(renamed.get(source, source), renamed.get(target, target)) for source, target in graph.edges]
    assert torch.equal(from_nir(graph)(PIXELS), counter(reset="zero")(PIXELS))


def test_a_file_that_is_missing_or_no_nir_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*a\.nir"):
        from_nir(tmp_path / "a.nir")
    (tmp_path / "a.nir").write_text("notes")
    with pytest.raises(UsageError, match=r"a\.nir is not a NIR file: .*OSError"):
        from_nir(tmp_path / "a.nir")
