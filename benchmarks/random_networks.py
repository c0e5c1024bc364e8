"""Train small copies of two published randomised defences on the embedded digits, and audit them until draws suffice.

    python benchmarks/random_networks.py OUT [NAME ...]

- rate-fgsm: Poisson input, trained on FGSM images (Mukhoty et al., ICLR 2024, their adversarial training for rate
  encoding).
- sqe: stochastic quantization encoding (Liu et al., arXiv 2610.01558) with N = 2, trained on clean images.
- sqe-fgsm: the same trained on FGSM images.
- direct-fgsm: for comparison, the same network without random numbers, trained on FGSM images.

Each is one convolution and two linear layers with T = 6: an ANN of 300 steps, converted and trained for 12 epochs as a
spiking network with Adam, from seed 0. FGSM in training has the bound of the audit, 26/255, and one draw. The audit has
the preset quick on 100 test images. Cards and a summary in JSON go to OUT.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hiresnn import convert, data, run_audit
from hiresnn.attacks import fgsm, pgd
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.draws import voted

EPS, TIMESTEPS, LEVELS = 26 / 255, 6, 2


class Quantised(nn.Module):
    """Pixels x as floor(x N) / N, or the level above it with probability x N - floor(x N), anew at every timestep.

    The mean is x, and N = 1 is Poisson input. The gradient passes straight through, as its authors train it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.timesteps = network, TIMESTEPS

    def forward(self, images: Tensor) -> Tensor:
        steps = images[:, None].expand(-1, TIMESTEPS, *images.shape[1:])
        lower = (steps * LEVELS).floor()
        level = (lower + (torch.rand_like(steps) < steps * LEVELS - lower)) / LEVELS
        return self.network(steps + (level - steps).detach())


def trained(name: str, images: Tensor, labels: Tensor) -> nn.Module:
    """The network of that name."""
    torch.manual_seed(0)
    ann = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 32, bias=False), nn.ReLU(), nn.Linear(32, 10, bias=False),
    )  # fmt: skip
    optimiser = torch.optim.Adam(ann.parameters(), 3e-3)
    for _ in range(300):
        rows = torch.randint(0, len(images), (128,))
        optimiser.zero_grad()
        cross_entropy(ann(images[rows]), labels[rows]).backward()
        optimiser.step()
    if name.startswith("sqe"):
        grids = images[:200, None].expand(-1, TIMESTEPS, -1, -1, -1)
        model: nn.Module = Quantised(convert(ann, grids, timesteps=TIMESTEPS, encoding="frames"))
    else:
        encoding = "poisson" if name.startswith("rate") else "direct"
        model = convert(ann, images[:200], timesteps=TIMESTEPS, encoding=encoding)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(12):
        for rows in torch.randperm(len(images)).split(64):
            batch = images[rows]
            if name.endswith("fgsm"):
                batch = fgsm(model, batch, labels[rows], eps=EPS)
            optimiser.zero_grad()
            cross_entropy(model.train()(batch) / TIMESTEPS, labels[rows]).backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    torch.set_num_threads(1)
    out, names = Path(sys.argv[1]), sys.argv[2:] or ["rate-fgsm", "sqe-fgsm", "sqe", "direct-fgsm"]
    digits = data.load("digits")
    test = data.in_turn(digits.test, 100)
    images, labels = test.images.float() / 255, test.labels
    for name in names:
        network = trained(name, digits.train.images.float() / 255, digits.train.labels)
        torch.manual_seed(0)
        published = pgd(network, images, labels, eps=EPS, step=EPS / 4, iterations=10)
        one_draw = voted(InstrumentedModel(network, images).votes(published, 100), labels)
        options = {"eps": "26/255", "bounds": ["13/255"], "classes": digits.class_names, "folder": out / name}
        card = run_audit(network, images, labels, name=name, **options)
        summary = {
            "headline": card.conclusion.headline,
            "reasons": card.conclusion.reasons,
            "PGD of 10 steps with one draw": {"single draws": one_draw.mean, "vote": one_draw.vote.percent},
            "curve": {point.bound: [point.pgd.percent, point.worst.percent] for point in card.curve},
            "random": card.random and card.random.model_dump(),
            "seconds": round(card.budget.seconds),
        }
        (out / f"{name}.json").write_text(json.dumps(summary, indent=2) + "\n")
        print(f"{name}: {card.conclusion.headline}\n{card.random.text if card.random else ''}", flush=True)


if __name__ == "__main__":
    main()
