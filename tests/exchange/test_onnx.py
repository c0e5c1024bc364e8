"""An ONNX file makes the decisions of the network, for any number of images."""

import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.exchange import export
from hiresnn.exchange.export import onnx_runner

from .small import images, network

onnx = pytest.importorskip("onnx", exc_type=ImportError)
for package in ("onnxscript", "onnxruntime"):
    pytest.importorskip(package, exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


@pytest.mark.parametrize(("model", "reset", "timesteps"), [("vgg5", "subtract", 5), ("resnet12", "zero", 2)])
def test_onnxruntime_makes_the_same_decisions_in_batches_of_any_size(model, reset, timesteps, tmp_path):
    subject, batch = network(model, reset=reset), images(70)
    subject.timesteps = timesteps  # all of them are unrolled, which takes time
    expected = subject(batch).detach()
    (found,) = export(subject, tmp_path / "a.onnx", batch, expected.argmax(1), to="onnx").comparisons
    assert (found.decisions, found.images, found.before.compute(), found.after.compute()) == (0, 70, 100, 100)
    assert found.logits < 1e-4
    run = onnx_runner(tmp_path / "a.onnx")
    for size in (1, 2, 7):
        torch.testing.assert_close(run(batch[:size])[0], expected[:size], rtol=0, atol=1e-4)


def test_an_export_replaces_its_own_file_and_no_other(tmp_path):
    subject, path = network(), tmp_path / "a.onnx"
    subject.timesteps = 1
    for _ in range(2):
        export(subject, path, images(1), torch.zeros(1).long(), to="onnx")
    foreign = onnx.load(path)
    foreign.producer_name = "pytorch"
    for content in (foreign.SerializeToString(), b"notes"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="not written by hiresnn"):
            export(subject, path, images(1), torch.zeros(1).long(), to="onnx")
        assert path.read_bytes() == content


def test_poisson_spikes_are_refused(tmp_path):
    with pytest.raises(UsageError, match="poisson"):
        export(network(encoding="poisson"), tmp_path / "a.onnx", images(), torch.zeros(4).long(), to="onnx")
