"""FGSM and PGD-7 of the paper with multiplied logits, and the cross-entropy taken in float32 and in float64.

    python benchmarks/saturation.py networks/cifar10-traditional networks/cifar10-hire --data cifar10.npz --out OUT.md
    python benchmarks/saturation.py digits-hire --data digits --images 355 --eps 32/255 --step 0.03 --out OUT.md

Logits summed over T grow as a network trains. Once the true class leads by more than 16.6, its probability rounds to 1
in float32, the term of the true class leaves the gradient of the cross-entropy, and FGSM says more than is left. A
factor on the logits inside the attack imitates longer training: it changes no answer of the network.
"""

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hiresnn
from hiresnn import data
from hiresnn.attacks.losses import margin
from hiresnn.calls import parse_eps

ITERATIONS = 7
FACTORS = (1, 2, 4, 8, 16)
BATCH = 100


def gradient(network: nn.Module, images: Tensor, labels: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """The gradient of the cross-entropy of `factor` times the logits, taken in a data type."""
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(factor * network(images).to(dtype), labels, reduction="sum")
    (result,) = torch.autograd.grad(loss, images)
    return result.nan_to_num()


def attacked(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    factor: float,
    dtype: torch.dtype,
    eps: float,
    step: float,
    iterations: int,
) -> Tensor:
    """Eq. 3 with one iteration and step = eps, Eq. 4 with more."""
    adversarial = images
    for _ in range(iterations):
        moved = adversarial + step * gradient(network, adversarial, labels, factor, dtype).sign()
        adversarial = torch.min(torch.max(moved, images - eps), images + eps).clamp(0, 1)
    return adversarial


def row(
    network: nn.Module, images: Tensor, labels: Tensor, eps: float, step: float, iterations: int
) -> dict[str, list[float]]:
    """Data type of the loss -> accuracy in percent at each factor."""
    cells: dict[str, list[float]] = {"float32": [], "float64": []}
    for name, percent in cells.items():
        for factor in FACTORS:
            parts = [
                hiresnn.evaluate(
                    network, attacked(network, *part, factor, getattr(torch, name), eps, step, iterations), part[1]
                )
                * len(part[1])
                for part in zip(images.split(BATCH), labels.split(BATCH), strict=True)
            ]
            percent.append(sum(parts) / len(labels))
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=Path, help="folders of trained networks, or names of the zoo")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=300, help="test images, balanced over the classes")
    parser.add_argument("--eps", type=parse_eps, default=8 / 255)
    parser.add_argument("--step", type=float, default=0.01, help="of PGD")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file")
    args = parser.parse_args(arguments)
    test = data.first(data.load(args.data).test, args.images)
    images, labels = test.images.float() / 255, test.labels
    heads = ["network", "attack", "loss in", *(f"times {factor}" for factor in FACTORS)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * 3 + "|---:" * len(FACTORS) + "|"]
    margins = [
        "| network | clean | 10 % of margins below | half | 90 % | share above 16.6 |",
        "|---" + "|---:" * 5 + "|",
    ]
    for folder in args.networks:
        network = hiresnn.from_pretrained(folder.absolute() if folder.is_dir() else str(folder)).eval()
        network.requires_grad_(False)
        with torch.no_grad():
            gaps = -torch.cat(
                [margin(network(a), b) for a, b in zip(images.split(BATCH), labels.split(BATCH), strict=True)]
            )
        low, half, high = torch.quantile(gaps, torch.tensor([0.1, 0.5, 0.9])).tolist()
        clean, above = (100 * float((gaps > limit).float().mean()) for limit in (0.0, 16.6))
        margins.append(f"| {folder.name} | {clean:.1f} | {low:.1f} | {half:.1f} | {high:.1f} | {above:.1f} % |")
        for attack, step, iterations in (("FGSM", args.eps, 1), ("PGD-7", args.step, ITERATIONS)):
            for name, percent in row(network, images, labels, args.eps, step, iterations).items():
                lines.append(f"| {folder.name} | {attack} | {name} | {' | '.join(f'{one:.1f}' for one in percent)} |")
        print(f"{folder.name} is done", flush=True)
    named = " ".join(str(folder) for folder in args.networks)
    named += f" --eps {255 * args.eps:g}/255 --step {args.step:g}" if args.eps != 8 / 255 else ""
    about = f"{args.images} test images, {platform.machine()}, torch {torch.__version__}, {date.today()}"
    text = [
        f"`python benchmarks/saturation.py {named} --data {Path(args.data).name} --images {args.images}` ({about})",
        "",
        "Margins of the clean images: the logit of the true class minus the largest other one, summed over T.",
        "",
        *margins,
        "",
        f"Accuracy in percent that is left at {255 * args.eps:g}/255, with the logits inside the attack multiplied.",
        "",
        *lines,
        "",
    ]
    args.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
