"""Audit networks whose right answer is known, and compare the audit's number and verdict with it.

    python benchmarks/audit_validation.py [--images 100] [--only NAME] [--seeds 20]

Prints a Markdown table: the exact robust accuracy at 26/255 where it can be computed, what PGD-7 says, what the audit
says, and whether its verdict is a false alarm or a miss. Networks from examples/masked_digits.py share one exact
answer, which is not known, but which none of them may exceed: that of the same network without its mask. With --seeds
above 1, the table has the range of the numbers over the seeds of the audit instead, and how often each verdict came.
"""

import argparse
import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hiresnn import convert, data, run_audit

EPS = 26 / 255
EXAMPLES = Path(__file__).parents[1] / "examples" / "masked_digits.py"


class Affine(nn.Module):
    """A linear classifier of the digits by least squares; its robust accuracy can be computed exactly."""

    def __init__(self, noise: float = 0.0, scale: float = 4.0) -> None:
        super().__init__()
        split = data.load("digits").train
        pixels = torch.cat([split.images.float().flatten(1) / 255, torch.ones(len(split.labels), 1)], 1)
        targets = torch.eye(10)[split.labels]
        self.weight = nn.Parameter(scale * torch.linalg.solve(pixels.T @ pixels + torch.eye(65), pixels.T @ targets))
        self.noise = noise

    def forward(self, images: Tensor) -> Tensor:
        logits = images.flatten(1) @ self.weight[:-1] + self.weight[-1]
        return logits + self.noise * torch.randn(logits.shape) if self.noise else logits

    @torch.no_grad()
    def exact(self, images: Tensor, labels: Tensor) -> float:
        low, high = ((images + by).clamp(0, 1).flatten(1) for by in (-EPS, EPS))
        standing = torch.ones(len(images), dtype=torch.bool)
        for row, label in enumerate(labels.tolist()):
            difference = self.weight - self.weight[:, label : label + 1]
            worst = torch.where(difference[:-1] > 0, high[row][:, None], low[row][:, None])
            gain = (worst * difference[:-1]).sum(0) + difference[-1]
            gain[label] = -1
            standing[row] = bool((gain <= 0).all())
        return 100 * float(standing.float().mean())


class Brightness(nn.Module):
    """Robust by construction: bright against dark images, with a distance of 0.3 to the boundary."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.flatten(1).mean(1) - 0.5
        return torch.stack([-bright, bright], 1) * 10


class Threshold(nn.Module):
    """Robust by construction on black and white images, with a gradient of zero everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Affine()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images > 0.5).float())
        return logits


class Cut(nn.Module):
    """The plain SNN, where the gradient reaches only a share of the pixels, drawn at random but fixed."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.network = masked("plain")()
        self.register_buffer("passed", torch.rand(64, generator=torch.Generator().manual_seed(0)) < share)

    def forward(self, images: Tensor) -> Tensor:
        passed = self.passed.view(1, 1, 8, 8)
        logits: Tensor = self.network(torch.where(passed, images, images.detach()))
        return logits


class Constant(nn.Module):
    """Always class 3."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.eye(10)[3].expand(len(images), -1)


def dead() -> nn.Module:
    """A spiking network in which no neuron ever spikes."""
    images = data.load("digits").train.images[:100].float() / 255
    ann = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 10, bias=False))
    network = convert(ann, images, timesteps=4, threshold_scale=1.0)
    for neuron in network.neurons.values():
        neuron.threshold.data.fill_(1e6)
    return network


def robust_ann() -> nn.Module:
    """A small network trained on the images of a PGD-5 at 26/255; its gradients are not masked."""
    from hiresnn.attacks import pgd

    torch.manual_seed(0)
    split = data.load("digits").train
    images, labels = split.images.float() / 255, split.labels
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(400):
        rows = torch.randint(0, len(images), (128,))
        adversarial = pgd(network, images[rows], labels[rows], eps=EPS, iterations=5)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(adversarial), labels[rows]).backward()
        optimiser.step()
    return network


def masked(name: str) -> Callable[[], nn.Module]:
    """A network of examples/masked_digits.py."""
    spec = importlib.util.spec_from_file_location("masked_digits", EXAMPLES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[[], nn.Module] = getattr(module, name)
    return made


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": Affine,
    "linear, logits times 1e4": lambda: Affine(scale=4e4),
    "linear, with noise on its logits": lambda: Affine(noise=0.2),
    "plain SNN": masked("plain"),
    "SNN, narrow surrogate": masked("narrow"),
    "SNN, logits times 1e4": masked("saturated"),
    "SNN, random quantiser": masked("quantised"),
    "SNN, gradient cut": lambda: Cut(0.0),
    "SNN, gradient of 70 % of the pixels cut": lambda: Cut(0.3),
    "ANN, adversarially trained": robust_ann,
    "robust: bright or dark": Brightness,
    "robust: black and white, zero gradient": Threshold,
    "constant": Constant,
    "dead SNN": dead,
}


def row(name: str, count: int, seeds: int = 1) -> str:
    """One row of the table."""
    network = NETWORKS[name]()
    split = data.in_turn(data.load("digits").test, count)
    images, labels = split.images.float() / 255, split.labels
    exact: float | None = None
    if isinstance(network, Brightness):
        labels = torch.arange(count) % 2
        images, exact = (0.2 + 0.6 * labels.float()).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous(), 100.0
    if isinstance(network, Threshold):
        images = (images > 0.5).float()
    cards = [run_audit(network, images, labels, eps=EPS, bounds=("26/255", "inf"), seed=seed) for seed in range(seeds)]
    card = cards[0]
    if seeds > 1:
        worst = [card.at(card.setting.headline).worst.percent for card in cards]
        verdicts = Counter(card.conclusion.verdict for card in cards)
        searched = [
            card.at(card.setting.headline).gradient.percent - low for card, low in zip(cards, worst, strict=True)
        ]
        counts = ", ".join(f"{verdict} {number}" for verdict, number in verdicts.items())
        return (
            f"| {name} | {min(worst):.1f} to {max(worst):.1f} | {min(searched):.1f} to {max(searched):.1f} | {counts} |"
        )
    if isinstance(network, Affine) and not network.noise:
        exact = network.exact(images, labels)
    elif isinstance(network, (Threshold, Constant)):
        exact = card.clean.percent
    point = card.at(card.setting.headline)
    known = "" if exact is None else f"{exact:.1f}"
    conclusion = card.conclusion
    return (
        f"| {name} | {card.clean.percent:.1f} | {known} | {point.pgd.percent:.1f} | {point.worst.percent:.1f} "
        f"| {conclusion.verdict} | {conclusion.own} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--only", choices=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    one = "| network | clean | exact | PGD-7 | audit | verdict | own gradient |\n|---|---|---|---|---|---|---|"
    many = "| network | audit | only without gradients | verdicts |\n|---|---|---|---|"
    print(many if options.seeds > 1 else one)
    for name in [options.only] if options.only else list(NETWORKS):
        print(row(name, options.images, options.seeds), flush=True)
