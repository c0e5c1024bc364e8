"""Campaign "answers": silent wrong answers, from logits or weights that are not finite, and from results of other work.

Nothing here crashes. A row of NaN must be a wrong answer, weights of NaN must be refused, and an audit whose network
changed must not return what it found for the network before.
"""

import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from tests.torture.harness import Case, command, in_child
from tests.torture.workshop import difference, state, trained

NETWORK = '''import json
from pathlib import Path

import torch
from helper import passed
from torch import nn

import hiresnn

HERE = Path(__file__).parent


class Spike(torch.autograd.Function):
    """1 above the middle, with a surrogate whose width the configuration says."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0.5).to(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.exp(-(x - 0.5).abs() / json.loads((HERE / "config.json").read_text())["width"])


class Network(nn.Module):
    """Digits by the nearest mean image of spikes."""

    def __init__(self):
        super().__init__()
        train = hiresnn.data.load("digits").train
        pixels = Spike.apply(train.images.float() / 255).flatten(1)
        means = torch.stack([pixels[train.labels == digit].mean(0) for digit in range(10)])
        self.means = nn.Parameter(means * json.loads((HERE / "config.json").read_text())["scale"])

    def forward(self, images):
        return -(Spike.apply(passed(images)).flatten(1)[:, None] - self.means).square().sum(2)


def network():
    return Network()
'''
HELPERS = ("def passed(x):\n    return x\n", "def passed(x):\n    return x.detach() + 0 * x\n")
AUDIT = ("audit", "net.py:network", "--data", "digits", "--images", "8", "--eps", "64/255", "--bounds", "64/255")


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """The three kinds in turn, without end."""
    draw = random.Random(seed)
    for number in itertools.count(1):
        change = draw.choice(("width", "scale", "helper"))
        yield Case("answers", f"logits that are not finite, {number}", _logits(draw.randrange(2**31)))
        yield Case("answers", f"weights that are not finite, {number}", _weights(draw, folder / "weights.safetensors"))
        yield Case("answers", f"audit after a change of the {change}, {number}", partial(_reused, folder, change))


def _logits(seed: int) -> Callable[[], str | None]:
    def action() -> None:
        import hiresnn

        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(40, 4, generator=generator)
        logits[torch.rand(40, 4, generator=generator) < 0.1] = float("nan")
        logits[torch.rand(40, 4, generator=generator) < 0.1] = float("inf")
        labels = torch.randint(4, (40,), generator=generator) * (torch.rand(40, generator=generator) < 0.5)
        right = [
            all(abs(logit) < float("inf") for logit in row) and max(row) == row[label]
            for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
        ]
        images = torch.arange(40.0).view(40, 1, 1, 1) / 40  # its pixel says which row an image has
        found = hiresnn.evaluate(lambda x: logits[(x[:, 0, 0, 0] * 40).round().long()], images, labels)
        assert abs(found - 100 * sum(right) / 40) < 1e-4, f"accuracy {found}, not {100 * sum(right) / 40}"

    return lambda: in_child(action).complaint(0)


def _weights(draw: random.Random, path: Path) -> Callable[[], str | None]:
    """A file that is whole and has right checksums, but one weight is not finite."""

    def action() -> None:
        from hiresnn import load
        from hiresnn.app.networks import _sealed, checksum
        from hiresnn.errors import HiresnnError

        with safe_open(trained() / "runs" / "run" / "model.safetensors", "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(file.metadata()["hiresnn"])
        values = tensors[draw.choice(sorted(tensors))].view(-1)
        values[draw.randrange(len(values))] = draw.choice((float("nan"), float("inf"), -float("inf")))
        header["checksum"] = checksum(tensors)
        path.write_bytes(_sealed(save(tensors, {"hiresnn": json.dumps(header)})))
        try:
            load(path)
        except HiresnnError:
            return
        raise AssertionError("accepted weights that are not finite")

    return lambda: in_child(action).complaint(0)


def _reused(folder: Path, change: str) -> str | None:
    """Audit, change the network, and audit again: the same folder and a fresh one must say the same."""
    place = Path(tempfile.mkdtemp(dir=folder))
    settings = {"width": 0.3, "scale": 1.0}

    def write(helper: str) -> None:
        (place / "helper.py").write_text(helper)
        (place / "config.json").write_text(json.dumps(settings))

    (place / "net.py").write_text(NETWORK)
    write(HELPERS[0])
    if problem := command(*AUDIT, "--out", "same", folder=place, seconds=600).complaint(0):
        return problem
    settings |= {change: settings[change] / 5000} if change in settings else {}
    write(HELPERS[change == "helper"])
    fresh = place / "elsewhere"
    fresh.mkdir()
    for file in place.glob("*.*"):
        shutil.copy(file, fresh)
    ended = [command(*AUDIT, "--out", "same", folder=where, seconds=600) for where in (place, fresh)]
    problem = ended[0].complaint(0, 1) or ended[1].complaint(0)
    if problem is None and ended[0].code == 0 and difference(state(place / "same"), state(fresh / "same")):
        problem = f"an audit after a change of the {change} returns results of the network before"
    shutil.rmtree(place)
    return problem
