"""Is a preset of the audit at least as strong as the published reference attack? The table of docs/audit.md.

    python benchmarks/audit_strength.py RUN... [--data cifar10.npz] [--preset quick] [--images 100]
                                        [--bounds 1/255,2/255,8/255] [--iterations 300] [--restarts 5]

Attacks the same test images twice: by the audit, whose worst case over all attacks counts, and by SA-PGD under ASSG
on time-mean logits alone, with more iterations and several restarts, half of them from the published start of ASSG.
Prints a Markdown table: how many images each leaves, and how many more the audit leaves.
"""

import argparse
import time
from pathlib import Path

import torch

from hiresnn import data, run_audit
from hiresnn.app.targets import resolve_model
from hiresnn.attacks import AttackSpec

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


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path)
    cli.add_argument("--data", help="where the images are, if not where the recipe says")
    cli.add_argument("--preset", default="quick")
    cli.add_argument("--images", type=int, default=100)
    cli.add_argument("--bounds", default="1/255,2/255,8/255")
    cli.add_argument("--iterations", type=int, default=300)
    cli.add_argument("--restarts", type=int, default=5)
    asked = cli.parse_args()
    bounds = tuple(asked.bounds.split(","))
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
