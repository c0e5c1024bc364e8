"""The libraries themselves read a NIR file: spikes of every layer and timestep, and the traps of docs/deploy.md."""

import pytest
import torch
from torch import Tensor

from hiresnn.exchange import export, step_graph, write_nir
from hiresnn.exchange.nir import reading_lines
from hiresnn.exchange.step_graph import free_identifier
from hiresnn.network import record

from .small import T, images, network

nir = pytest.importorskip("nir", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


def snntorch(path):
    pytest.importorskip("nirtorch", exc_type=ImportError)
    library = pytest.importorskip("snntorch.import_nir", exc_type=ImportError)
    return library.import_from_nir(nir.read(path))


def spikingjelly(path):
    library = pytest.importorskip("spikingjelly.activation_based.nir_exchange", exc_type=ImportError)
    return library.import_from_nir(path)


def norse(path):
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    return library.from_nir(nir.read(path), dt=1e-4)


def spikes_of(reader, path, names):
    """Logits and spikes of every layer, one image at a time: a Flatten of two of the libraries takes the batch too."""
    model, steps = reader(path), dict[str, list[Tensor]]()
    modules = dict(model.named_modules())
    for name in names:

        def keep(_, inputs, output, name=name):
            steps.setdefault(name, []).append((output[0] if isinstance(output, tuple) else output).detach())

        modules[name].register_forward_hook(keep)
    logits, spikes = [], []
    for image in images()[:, None]:
        steps.clear()
        for module in model.modules():
            for reset in ("reset_mem", "reset_states"):  # snnTorch and sinabs go on from the image before
                if hasattr(module, reset):
                    getattr(module, reset)()
        state, total = None, torch.zeros(())
        with torch.no_grad():
            for _ in range(T):
                output, state = model(image, state)
                total = total + output.reshape(-1)
        logits.append(total)
        spikes.append({name: torch.stack(each).reshape(T, 1, -1) for name, each in steps.items()})
    return torch.stack(logits), {name: torch.cat([each[name] for each in spikes], 1) for name in names}


def own(subject):
    with torch.no_grad(), record(subject) as spikes:
        logits = subject(images())
    return logits, {free_identifier(name, ()): layer.flatten(2) for name, layer in spikes.items()}


@pytest.mark.parametrize(
    ("reader", "model"),
    [
        *((snntorch, model) for model in ("vgg5", "vgg11", "resnet12")),
        *((spikingjelly, model) for model in ("vgg5", "vgg11", "resnet12")),
        *((norse, model) for model in ("vgg5", "vgg11")),
    ],
)
@pytest.mark.parametrize("leak", [0.9, 1.0])
def test_a_library_has_the_spikes_of_the_network_in_every_layer(reader, model, leak, tmp_path):
    subject = network(model, leak=leak)
    write_nir(step_graph(subject, images()), tmp_path / "a.nir")
    logits, spikes = own(subject)
    found, layers = spikes_of(reader, tmp_path / "a.nir", list(spikes))
    differing = {name: int((layers[name] != layer).sum()) for name, layer in spikes.items()}
    assert not any(differing.values()), differing
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("reader", "library"), [("portable", "snntorch"), ("spikingjelly", "spikingjelly"), ("norse", "norse")]
)
def test_the_printed_lines_read_the_file_and_give_the_logits(reader, library, tmp_path):
    pytest.importorskip(library, exc_type=ImportError)
    subject = network("vgg5")
    write_nir(step_graph(subject, images()), tmp_path / "a.nir", reader)
    names = {}
    exec(reading_lines(tmp_path / "a.nir", images().shape[1:], T, reader), names)
    with torch.no_grad():
        expected = subject(names["image"])[0]
    torch.testing.assert_close(names["logits"].detach(), expected, rtol=0, atol=1e-4)


def test_norse_reads_a_sum_of_two_layers_in_the_wrong_order_which_the_export_says(tmp_path):
    pytest.importorskip("norse", exc_type=ImportError)
    subject = network("resnet12")
    found = export(subject, tmp_path / "a.nir", images(), torch.zeros(4).long(), to="nir")
    assert any("norse" in line for line in found.unsupported)
    with pytest.raises(RuntimeError):  # its last layer in that order is a shortcut
        torch.testing.assert_close(spikes_of(norse, tmp_path / "a.nir", ["relu1"])[0] - own(subject)[0], 0)


@pytest.mark.parametrize(("model", "names"), [("vgg5", ["snnTorch", "norse"]), ("resnet12", ["snnTorch"])])
def test_an_export_asks_the_installed_libraries(model, names, tmp_path):
    for library in ("snntorch", "norse", "nirtorch"):
        pytest.importorskip(library, exc_type=ImportError)
    found = export(network(model), tmp_path / "a.nir", images(), torch.zeros(4).long(), to="nir").comparisons[2:]
    assert [comparison.name.split()[0] for comparison in found] == names
    assert all(comparison.spikes and not comparison.first_layer for comparison in found)
    assert all(comparison.images == 4 and comparison.logits < 1e-4 for comparison in found)
