"""One network as a network of hiresnn and exported to snnTorch: what rules of a whole layer are worth, and where
attacks part. Needs snnTorch.

    python benchmarks/seen_both_ways.py

Audits digits-hire and its export on 100 digits at 16/255 and 32/255 with the preset quick, once with all rules and once
with elementwise rules alone; prints the images left. Then takes the same 30 sign steps on both, in float32 and float64,
and prints the first iterate at which the sign of a gradient differs, how many signs, and how large they are; and how
many of the 100 images stand under 20 steps of momentum on the margin in float32, on both and in batches of seven.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import hiresnn
from hiresnn.attacks import AttackSpec
from hiresnn.attacks.losses import loss_gradient
from hiresnn.audit import AuditConfig
from hiresnn.data import load
from hiresnn.errors import UsageError
from hiresnn.foreign import recognise
from hiresnn.neurons import LayerRule, gradient_rule

NAME, EPS, STEPS, COUNT = "digits-hire", 32 / 255, 30, 100
RULES = {"linear": "linear(reset=True)", "arctan": "arctan(reset=True)", "bptr": "bptr", "assg": "assg"}


class Elementwise(nn.Module):
    """A network that refuses rules of a whole layer, as adapters do without the equation of its neurons."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.timesteps = network, network.timesteps
        self.readout = network.readout if hasattr(network, "readout") else "sum"
        self.neurons = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    @contextmanager
    def gradient_rule(self, rule):
        if isinstance(rule, LayerRule):
            raise UsageError("rules of a whole layer are left out")
        with gradient_rule(self.network, rule):
            yield


def both(dtype: torch.dtype) -> dict[str, nn.Module]:
    """The network of hiresnn and the exported one."""
    import exported  # written by `main`

    network = exported.Network().to(dtype)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):  # spikes of snnTorch are float32
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    adapted = recognise(network, torch.rand(4, 1, 8, 8, dtype=dtype), exported.TIMESTEPS)
    return {"hiresnn": hiresnn.from_pretrained(NAME).eval().to(dtype), "exported": adapted.eval()}


def first_difference(networks: dict[str, nn.Module], images, labels, rules: tuple[str, str]) -> str:
    """Where the signs of the gradients of both networks part, under a rule for each."""
    ours, theirs = networks.values()
    points = images.clone()
    loss = lambda logits, labels: F.cross_entropy(logits / ours.timesteps, labels, reduction="none")  # noqa: E731
    with ExitStack() as stack:
        for network, rule in zip((ours, theirs), rules, strict=True):
            stack.enter_context(gradient_rule(network, rule))
        for iterate in range(STEPS):
            one, other = (loss_gradient(network, points, labels, loss).gradient for network in (ours, theirs))
            flipped = one.sign() != other.sign()
            if bool(flipped.any()):
                size = float((one[flipped].abs().maximum(other[flipped].abs()) / one.abs().max()).max())
                rows = int(flipped.flatten(1).any(1).sum())
                return f"iterate {iterate}: {int(flipped.sum())} signs, {rows} images, up to {size:.1g} of the largest"
            points = (images + (points + EPS / 10 * one.sign() - images).clamp(-EPS, EPS)).clamp(0, 1)
    return f"no sign differs in {STEPS} iterates"


def standing(network: nn.Module, rule: str, images, labels, size: int = COUNT) -> torch.Tensor:
    """Which images `momentum` leaves in batches of that size."""
    attack = AttackSpec.parse(f"momentum(iterations=20, loss=margin, rule={rule})").at(EPS)
    parts = list(zip(images.split(size), labels.split(size), strict=True))
    with torch.no_grad():
        return torch.cat([network(attack(network, *part)).argmax(1) == part[1] for part in parts])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hiresnn", "export", NAME, "--to", "snntorch"]
        subprocess.run([*command, "-o", str(Path(folder) / "exported.py")], check=True, stdout=subprocess.DEVNULL)
        sys.path.insert(0, folder)
        test = load("digits").test
        images, labels = test.images[:COUNT].float(), test.labels[:COUNT].long()
        images = images / 255 if images.max() > 1 else images
        for dtype in (torch.float32, torch.float64):
            networks = both(dtype)
            for theirs, unrolled in RULES.items():
                for ours in dict.fromkeys((theirs, unrolled)):
                    text = first_difference(networks, images.to(dtype), labels, (ours, theirs))
                    print(f"{dtype}, {ours} and {theirs}: {text}", flush=True)
        ours, theirs = both(torch.float32).values()
        for rule in ("assg", "bptr"):
            first = standing(ours, rule, images, labels)
            for name, other in (("exported", standing(theirs, rule, images, labels)),
                                ("batches of 7", standing(ours, rule, images, labels, 7))):  # fmt: skip
                differ = int((first != other).sum())
                print(f"momentum, {rule}: {int(first.sum())} stand, {int(other.sum())} {name}, {differ} differ")
        config = AuditConfig("quick", "32/255", ("16/255",))
        for name, network in both(torch.float32).items():
            for rules, subject in (("all rules", network), ("elementwise rules", Elementwise(network))):
                card = hiresnn.run_audit(subject, images, labels, config=config)
                left = {point.bound: point.worst.count for point in card.curve}
                print(f"{name}, {rules}: {left}", flush=True)


if __name__ == "__main__":
    main()
