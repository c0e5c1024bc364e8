"""Is a preset of the audit as strong as the published reference attack? The table of results/audit-validation.md.

    python benchmarks/audit_strength.py RUN... [--data cifar10.npz] [--preset quick] [--images 100]
                                        [--bounds 1/255,2/255,8/255] [--iterations 300] [--restarts 5]
    python benchmarks/audit_strength.py digits-hire digits-traditional --longer --bounds 26/255

Attacks the same test images twice: by the audit, whose worst case over all attacks counts, and by SA-PGD under ASSG
on time-mean logits alone, with more iterations and several restarts, half of them from the published start of ASSG.
Prints a Markdown table: how many images each leaves, and how many more the audit leaves.

With --longer, the images that the audit leaves at the last bound are searched again, by steps along the sign of a
momentum of the gradient under ASSG, written here independently of the package's: 200 steps, halved four times, from the
image and from two random starts, each on the cross-entropy and on the margin of time-mean logits; and the same from
ASSG's published start. The table has what falls beside what the card extrapolates.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiresnn import data, run_audit
from hiresnn.app.targets import resolve_model
from hiresnn.attacks import AttackSpec
from hiresnn.neurons import gradient_rule

RULES = ("assg", "assg/start=1")


@torch.no_grad()
def right(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return model(images).argmax(1) == labels


def reference(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, spec: AttackSpec) -> int:
    """Number of images that stay classified correctly under every restart."""
    standing = right(model, images, labels)
    restarts = int(str(spec.options["restarts"]))
    for turn in range(restarts):
        if not standing.any():
            break
        options = {**spec.options, "restarts": 1}
        once = AttackSpec(spec.name, options, (RULES[turn % len(RULES)],))
        torch.manual_seed(turn)
        left = standing.nonzero().flatten()
        made = once(model, images[left], labels[left])
        standing[left] &= right(model, made, labels[left])
    return int(standing.sum())


def longer(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float, rule: str) -> torch.Tensor:
    """Which images fall to 200 momentum steps from three starts on two losses."""
    broken = torch.zeros(len(images), dtype=torch.bool)
    steps = getattr(model, "timesteps", 1)
    for start, loss in itertools.product(range(3), ("cross-entropy", "margin")):
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(start)) * 2 - 1
        iterate = (images + eps * noise).clamp(0, 1) if start else images
        momentum, size = torch.zeros_like(images), eps / 2
        with gradient_rule(model, rule):
            for step in range(200):
                point = iterate.detach().requires_grad_()
                logits = model(point) / steps
                broken |= logits.argmax(1) != labels
                if loss == "margin":
                    others = logits.scatter(1, labels[:, None], -torch.inf)
                    value = others.amax(1) - logits.gather(1, labels[:, None])[:, 0]
                else:
                    value = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
                (slope,) = torch.autograd.grad(value.sum(), point)
                momentum = 0.9 * momentum + slope / slope.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
                size /= 2 if step and step % 40 == 0 else 1
                moved = iterate + size * momentum.sign()
                iterate = torch.clamp(moved, images - eps, images + eps).clamp(0, 1)
        broken |= ~right(model, iterate, labels)
    return broken


def compare_longer(name: str, model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, asked: Any) -> None:
    """One row of the table of --longer."""
    bounds = asked.bounds.split(",")
    with tempfile.TemporaryDirectory() as folder:
        card = run_audit(model, images, labels, preset=asked.preset, eps=bounds[-1], folder=folder)
        archive = np.load(Path(folder) / "adversarial.npz")
        eps = card.at(card.setting.headline).eps
        fallen = archive["index"][archive["eps"] <= eps * 1.0001]
    standing = right(model, images, labels)
    standing[torch.from_numpy(fallen)] = False
    left = standing.nonzero().flatten()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = {rule: longer(model, images[left], labels[left], eps, rule) for rule in RULES}
    columns = [str(int(found[rule].sum())) for rule in RULES] + [str(int((found[RULES[0]] | found[RULES[1]]).sum()))]
    more, cost = card.longer, card.budget
    print(f"| {name} | {bounds[-1]} | {len(left)} | {' | '.join(columns)} | {more.expected} (at most {more.high}), "
          f"x {more.factor:g} | {cost.gradients_per_image:.0f} | {cost.seconds:.0f} |", flush=True)  # fmt: skip


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path)
    cli.add_argument("--data", help="where the images are, if not where the recipe says")
    cli.add_argument("--preset", default="quick")
    cli.add_argument("--images", type=int, default=100)
    cli.add_argument("--bounds", default="1/255,2/255,8/255")
    cli.add_argument("--iterations", type=int, default=300)
    cli.add_argument("--restarts", type=int, default=5)
    cli.add_argument("--longer", action="store_true", help="search again what the audit leaves at the last bound")
    asked = cli.parse_args()
    bounds = tuple(asked.bounds.split(","))
    if asked.longer:
        print("| network | bound | audit leaves | fall under ASSG | from its published start | to either | card says |"
              " gradients per image | seconds |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|")
        for path in asked.runs:
            source = resolve_model(str(path))
            dataset = asked.data or (source.recipe.data.source if source.recipe else "digits")
            split = data.in_turn(data.load(dataset).test, asked.images)
            compare_longer(path.name, source.model, split.images.float() / 255, split.labels, asked)
        return
    print("| network | bound | audit leaves | reference leaves | audit leaves more by | seconds, audit | reference |")
    print("|---|---|---|---|---|---|---|")
    for path in asked.runs:
        source = resolve_model(str(path))
        assert source.recipe is not None
        split = data.in_turn(data.load(asked.data or source.recipe.data.source).test, asked.images)
        images, labels = split.images.float() / 255, split.labels
        start = time.perf_counter()
        card = run_audit(source.model, images, labels, preset=asked.preset, eps=bounds[-1], bounds=bounds)
        middle = time.perf_counter()
        for bound in bounds:
            spec = AttackSpec.parse(f"sa-pgd:eps={bound},iterations={asked.iterations},restarts={asked.restarts},"
                                    "mean_logits=true")  # fmt: skip
            begun = time.perf_counter()
            left = reference(source.model, images, labels, spec)
            audit = card.at(bound).worst.count
            print(f"| {path.name} | {bound} | {audit} | {left} | {audit - left} | {middle - start:.0f} (all bounds) | "
                  f"{time.perf_counter() - begun:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
