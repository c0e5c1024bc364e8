"""Section `attack`: PGD-7 by the paper's metric, where all images see all iterations, against torchattacks' PGD.

The mode that drops an image once it is broken is in `dropping`.
"""

from collections.abc import Callable, Iterable

import torch
from figures import PEERS, Section, over, rates, versions
from networks import CLASSES, TINY, Size, SpikingJelly, ours
from torch import Tensor, nn
from turns import in_turns, say

from hiresnn.attacks import pgd

EPS, STEP, ITERATIONS = 8 / 255, 0.01, 7
SAME = 1e-6
"""Pixels that differ by less are equal: that is what float32 leaves of image + perturbation."""
UNIT = "images/s"

Attack = Callable[[Tensor, Tensor], Tensor]


def peer(network: nn.Module) -> Attack:
    """The same PGD by torchattacks on `network`."""
    import torchattacks

    made: Attack = torchattacks.PGD(network, eps=EPS, alpha=STEP, steps=ITERATIONS, random_start=False)
    return made


def measure_attack(quick: bool) -> Section:
    """Ours and theirs on the same network, and theirs on SpikingJelly's."""
    size = TINY if quick else Size()
    count, batch = (8, 4) if quick else (1000, 200)
    section = Section(
        "Attacks",
        f"PGD with {ITERATIONS} iterations, step {STEP}, bound 8/255, no random start, on {count:,} random images in "
        f"batches of {batch}, one batch per round; the paper's VGG5 in float32, T = {size.timesteps}, hidden "
        f"{size.hidden}, untrained.",
        {**vars(size), "batch": batch, "images": count, "iterations": ITERATIONS, "step": STEP},
    )
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 32, 32, generator=draws).split(batch)
    labels = torch.randint(0, CLASSES, (count,), generator=draws).split(batch)
    section.leave_out("torchattacks", "spikingjelly")
    for name, seconds in _in_turns(size, list(zip(images, labels, strict=True)), section).items():
        section.add(name, {UNIT: rates(seconds, batch)})
    mine = section.median("pgd", UNIT)
    theirs = section.median("torchattacks, same network", UNIT)
    foreign = section.median("torchattacks, SpikingJelly", UNIT)
    section.at_least("pgd, speed over torchattacks on the same network", over(mine, theirs), 1.0)
    section.at_least("pgd, speed over torchattacks on SpikingJelly", over(mine, foreign), 1.3)
    return section


def _in_turns(size: Size, batches: list[tuple[Tensor, Tensor]], section: Section) -> dict[str, list[float]]:
    torch.manual_seed(0)
    network = ours(size).eval()

    def mine(images: Tensor, labels: Tensor) -> Tensor:
        return pgd(network, images, labels, eps=EPS, step=STEP, iterations=ITERATIONS)

    attacks: dict[str, Attack] = {"pgd": mine}
    if versions()["torchattacks"]:
        attacks["torchattacks, same network"] = peer(network)
        if versions()["spikingjelly"]:
            torch.manual_seed(0)
            attacks[f"torchattacks, {PEERS['spikingjelly']}"] = peer(SpikingJelly(size).eval())
    say("  warm-up")
    made = {name: attack(*batches[0]) for name, attack in attacks.items()}
    if len(attacks) > 1:
        difference = (made["pgd"] - made["torchattacks, same network"]).abs()
        equal = 100 * float((difference <= SAME).double().mean())
        section.notes.append(
            f"pgd and torchattacks on the same network: {equal:.2f} % of the pixels of the first batch are equal; "
            f"the largest difference is {float(difference.max()):.2g}, at a bound of {EPS:.2g}."
        )
    return in_turns({name: _next(attack, batches) for name, attack in attacks.items()}, rounds=len(batches), warmup=0)


def _next(attack: Attack, batches: Iterable[tuple[Tensor, Tensor]]) -> Callable[[], Tensor]:
    """The attack on the next batch with every call."""
    left = iter(batches)
    return lambda: attack(*next(left))
