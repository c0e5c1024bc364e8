"""Our APGD and Square beside pyautoattack's, same network, rule and budget: the table of docs/attacks.md.

    python benchmarks/attack_strength.py

The network is `plain` of examples/masked_digits.py, the images are 200 digits that it has not seen, the bound is 0.1.
Needs the extra `autoattack`; prints Markdown, accuracy that is left in percent.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from hiresnn import data, gradient_rule
from hiresnn.app.targets import resolve_model
from hiresnn.attacks import apgd, parse, square
from hiresnn.neurons.rules import rule_from_text

EPS, IMAGES = 0.1, 200
MASKED = Path(__file__).parents[1] / "examples" / "masked_digits.py"


def under(network: nn.Module, rule: str) -> AbstractContextManager[None]:
    return nullcontext() if rule == "own" else gradient_rule(network, rule_from_text(rule))


if __name__ == "__main__":
    network = resolve_model(f"{MASKED}:plain").model
    split = data.in_turn(data.load("digits").test, IMAGES)
    images, labels = split.images.float() / 255, split.labels

    def left(adversarial: Tensor) -> float:
        with torch.no_grad():
            return 100 * float((network(adversarial).argmax(1) == labels).float().mean())

    print("| attack | ours | pyautoattack |\n|---|---|---|")
    common = {"norm": "Linf", "eps": EPS, "seed": 0, "device": "cpu"}
    for rule in ("own", "assg"):
        for loss, steps in (("cross-entropy", 50), ("dlr", 50), ("dlr-targeted", 20)):
            with under(network, rule):
                if loss == "dlr-targeted":
                    made = APGDAttack_targeted(network, n_iter=steps, n_restarts=1, n_target_classes=9, **common)
                else:
                    kind = {"cross-entropy": "ce", "dlr": "dlr"}[loss]
                    made = APGDAttack(network, n_iter=steps, n_restarts=1, loss=kind, eot_iter=1, **common)
                theirs = left(made.perturb(images, labels))
            with under(network, rule):
                draws = torch.Generator().manual_seed(0)
                ours = left(apgd(network, images, labels, eps=EPS, iterations=steps, loss=loss, generator=draws))
            print(f"| APGD {loss}, {steps} iterations, rule {rule} | {ours:.1f} | {theirs:.1f} |")
    for seed in range(3):
        made = SquareAttack(network, n_queries=1000, n_restarts=1, **{**common, "seed": seed})
        draws = torch.Generator().manual_seed(seed)
        ours = left(square(network, images, labels, eps=EPS, queries=1000, generator=draws))
        print(f"| Square, 1,000 queries, seed {seed} | {ours:.1f} | {left(made.perturb(images, labels)):.1f} |")
    for text in (f"pgd:step={EPS / 4}", "sa-pgd:iterations=30", "sa-pgd:iterations=30,rule=assg", "autoattack",
                 "autoattack:rule=arctan", "autoattack:rule=assg"):  # fmt: skip
        torch.manual_seed(0)
        print(f"| {text} | {left(parse(text, eps=EPS)(network, images, labels)):.1f} | |")
