"""Checkpoints of the form of the authors' VGG_SNN, written here, against a step-by-step loop over that form."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hiresnn import load
from hiresnn.app.evaluate import evaluate
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.import_checkpoint import NAMES, import_checkpoint, positions
from hiresnn.cli import main
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.models import CONFIGURATIONS
from hiresnn.progress import Progress

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""By which the authors' scripts normalise CIFAR-10."""


def state_of(model, *, size, width=4, hidden=8, seed=0):
    """A state_dict of the authors' form, `width` channels where they have 64, in the order of nn.Module."""
    torch.manual_seed(seed)
    convolutions, end = positions(model)
    state: dict[str, Tensor] = {}
    channels, numbers = 3, [entry for entry in CONFIGURATIONS[NAMES[model]] if entry != "pool"]
    for at, entry in zip(convolutions, numbers, strict=True):
        state[f"features.{at}.weight"] = torch.randn(entry * width // 64, channels, 3, 3) * 0.4
        channels = entry * width // 64
    inputs = channels * (size >> CONFIGURATIONS[NAMES[model]].count("pool")) ** 2
    for at, outputs in ((0, hidden), (3, hidden), (6, 10)):
        state[f"classifier.{at}.weight"] = torch.randn(outputs, inputs) * 0.5
        inputs = outputs
    neurons = [*convolutions, end, end + 3]
    state |= {f"threshold.t{at}": torch.tensor(0.4 + 0.05 * number) for number, at in enumerate(neurons)}
    return state | {f"leak.l{at}": torch.tensor(1.0 - 0.02 * number) for number, at in enumerate(neurons)}


def loop(state, model, images, timesteps):
    """Logits, one timestep and one layer at a time: u = leak u + current; spike above the threshold; subtract it."""
    convolutions, end = positions(model)
    membranes: dict[int, Tensor] = {}

    def fire(at, current):
        membranes[at] = state[f"leak.l{at}"] * membranes.get(at, torch.zeros_like(current)) + current
        spikes = (membranes[at] / state[f"threshold.t{at}"] - 1 > 0).float()
        membranes[at] = membranes[at] - state[f"threshold.t{at}"] * spikes
        return spikes

    logits = torch.zeros(len(images), 10)
    mean, std = (torch.tensor(tensor).view(1, 3, 1, 1) for tensor in (MEAN, STD))
    for _ in range(timesteps):
        rows, at = (images - mean) / std, iter(convolutions)
        for entry in CONFIGURATIONS[NAMES[model]]:
            if entry == "pool":
                rows = F.avg_pool2d(rows, 2)
            else:
                position = next(at)
                rows = fire(position, F.conv2d(rows, state[f"features.{position}.weight"], padding=1))
        rows = rows.flatten(1)
        for number, position in enumerate((end, end + 3)):
            rows = fire(position, F.linear(rows, state[f"classifier.{3 * number}.weight"]))
        logits += F.linear(rows, state["classifier.6.weight"])
    return logits


@pytest.fixture
def source(tmp_path):
    """Ten classes of 3 x 8 x 8 images."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (40, 8, 8, 3), np.uint8), np.arange(40) % 10
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(tmp_path / "images.npz")


def written(path, state):
    torch.save(state, path)
    return path


@pytest.mark.parametrize(("model", "size"), [("vgg5", 8), ("vgg11", 8), ("vgg16", 16)])
def test_the_network_computes_what_the_authors_loop_computes(model, size, tmp_path):
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (20, size, size, 3), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    state = state_of(model, size=size)
    imported = import_checkpoint(
        written(tmp_path / "authors.pt", {"module." + name: tensor for name, tensor in state.items()}),
        model, tmp_path / "run", source=str(tmp_path / "images.npz"), method="hire", timesteps=5,
    )  # fmt: skip
    network = load(tmp_path / "run" / MODEL)
    images = torch.rand(6, 3, size, size)
    with torch.no_grad():
        logits, expected = network(images), loop(state, model, images, 5)
    assert expected.abs().max() > 0
    assert logits.tolist() == [pytest.approx(row, abs=1e-4) for row in expected.tolist()]
    assert imported.thresholds[:2] == pytest.approx([0.4, 0.45])
    assert imported.leaks[:2] == pytest.approx([1.0, 0.98])
    assert imported.layers["conv1"] == ("features.0", [4, 3, 3, 3])
    assert imported.ignored == []


def test_the_run_is_accepted_and_a_twin_from_the_same_ann_is_found(source, tmp_path):
    state = state_of("vgg5", size=8)
    moved = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in state.items()}
    options = {"source": source, "method": "hire"}
    first = written(tmp_path / "one.pt", {"state_dict": {**state, "epoch": torch.tensor(3)}, "accuracy": 0.5})
    imported = import_checkpoint(first, "vgg5", tmp_path / "one", **options)
    assert (imported.ignored, imported.same_ann) == (["epoch"], None)
    assert RunFolder.open(tmp_path / "one").recipe.snn.timesteps == 6  # the paper's
    other = written(tmp_path / "other.pt", state_of("vgg5", size=8, seed=9))
    for path, name, same in ((written(tmp_path / "two.pt", moved), "two", True), (other, "other", False)):
        twin = import_checkpoint(path, "vgg5", tmp_path / name, twin=tmp_path / "one", **options)
        assert twin.same_ann is same
    twins = [tmp_path / "two", tmp_path / "other"]
    result = evaluate(tmp_path / "one", attacks=["fgsm"], twins=twins, progress=Progress(quiet=True))
    assert set(result["attacks"]["fgsm:eps=8/255"]["twins"]) == {"same-ann", "independent"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.3.weight": torch.zeros(8, 5, 3, 3)}, r"features.3.weight has shape \[8, 5, 3, 3\], but vgg5 needs"),
        ({"threshold.t9": torch.zeros(2)}, r"threshold.t9 has shape \[2\]"),
        ({"threshold.t0": torch.tensor(-1.0)}, r"threshold.t0 is -1; a threshold must be above 0"),
        ({"leak.l3": torch.tensor(float("nan"))}, "'leak.l3' holds numbers that are not finite"),
        ({"features.6.weight": torch.tensor(1.0)}, "weights of a convolution or of a linear layer have a wrong rank"),
        ({"leak.l3": torch.tensor(1.0).to(torch.float8_e4m3fn)}, r"'leak\.l3' is torch\.float8_e4m3fn"),
        ({"leak.l12": None}, "has no leak.l12, so it is not the authors' vgg5"),
    ],
)
def test_a_wrong_entry_is_named_and_no_folder_is_made(change, message, source, tmp_path):
    state = {**state_of("vgg5", size=8), **change}
    path = written(tmp_path / "wrong.pt", {name: tensor for name, tensor in state.items() if tensor is not None})
    with pytest.raises(RunError, match=message):
        import_checkpoint(path, "vgg5", tmp_path / "run", source=source, method="hire")
    assert not (tmp_path / "run").exists()


def test_the_timesteps_of_vgg16_and_images_of_another_size_are_asked_for(source, tmp_path):
    path = written(tmp_path / "authors.pt", state_of("vgg5", size=16))
    with pytest.raises(UsageError, match="give --timesteps"):
        import_checkpoint(path, "vgg16", tmp_path / "run", source=source, method="hire")
    with pytest.raises(HiresnnError, match="image_size = 16"):
        import_checkpoint(path, "vgg5", tmp_path / "run", source=source, method="hire")


def test_the_command_prints_what_it_found(source, tmp_path, capsys):
    path = written(tmp_path / "authors.pt", state_of("vgg5", size=8))
    for out, more in (("one", []), ("two", ["--twin", str(tmp_path / "one")])):
        line = ["import-checkpoint", str(path), "--model", "vgg5", "--data", source, "-o", str(tmp_path / out), *more]
        with pytest.raises(SystemExit) as caught:
            main(line)
        assert not caught.value.code
    printed = capsys.readouterr().out
    assert "4x3x3x3" in printed
    assert "started from the same ANN" in printed
    assert f"Next: hiresnn evaluate {tmp_path / 'two'}" in printed


def test_positions_are_those_of_the_authors_modules():
    """Counted by hand from their configuration: convolution, ReLU, dropout, or convolution, ReLU, pooling."""
    assert positions("vgg5") == ([0, 3, 6], 9)
    assert positions("vgg11") == ([0, 3, 6, 9, 12, 15, 18, 21], 24)
    assert positions("vgg16") == ([0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36], 39)
