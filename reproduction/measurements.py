"""What a page needs, as plain frozen values that do nothing: trainings (`Run`) and measured values (`Measurement`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hiresnn.app.evaluate import attack_of
from hiresnn.errors import UsageError, closest
from reproduction.claims import claims

if TYPE_CHECKING:
    from hiresnn.attacks import AttackSpec
    from reproduction.scales import Scale

Changes = tuple[tuple[str, str], ...]
"""Changes of a recipe: pairs of dotted key and TOML text."""
TWINS = ("same-ann", "independent")
"""Kinds of black box: images made on a twin that shares the ANN, or that shares nothing but the data."""
BOXES = ("white", *TWINS)
FROZEN: Changes = (("snn.train_neurons", "false"),)
"""Threshold and leak stay at their initial values (Table 5)."""
ON_ALL_IMAGES = ("accuracy", "held-out", "by-iteration", "quantised-ann", "gradient-checks")
"""Kinds of measurement on the scale's `images`; the others use its `analysed` images."""
UNTRAINED = ("cost", "input-codings")
"""Kinds of measurement that need no trained network."""


@dataclass(frozen=True)
class Run:
    """One trained network, such as "vgg5-cifar10" by "hire" with a seed of everything random.

    A twin is "same-ann" (another seed for the SNN, the same ANN) or "independent" (another seed for both). `changes`
    are made to the recipe beyond those of the scale.
    """

    network: str
    method: str
    seed: int
    twin: str | None = None
    changes: Changes = ()


@dataclass(frozen=True)
class Measurement:
    """One measured value of a network, a number or JSON.

    Attributes:
        kind: a key of `reproduction.measuring.MEASURE`, where each kind is described.
        seed: None stands for every seed of the scale, see `each`.
        attack: None for clean images, or text such as "pgd:eps=2/255"; the recipe sets the other options, and the step
            size scales with eps. On the rate-coded network, FGSM and PGD average their gradient over the scale's draws.
        box: "white", or the kind of twin on which the attack makes its images.
        changes: to the recipe of the network and of its twin.
        grid: the numbers that the kind sweeps: iterations, timesteps, leaks, bits, variants of the image, seeds.
        at: which element of a list is meant; measurements that only differ in it are equal.
    """

    kind: str
    network: str = ""
    method: str = ""
    seed: int | None = None
    attack: str | None = None
    box: str = "white"
    changes: Changes = ()
    grid: tuple[float, ...] = ()
    at: int | None = field(default=None, compare=False)

    def each(self, scale: Scale) -> list[Measurement]:
        """One measurement for each seed."""
        if self.seed is not None:
            return [self]
        return [replace(self, seed=seed) for seed in scale.seeds_of(self.network, self.method)]

    @property
    def run(self) -> Run:
        """The run that is measured."""
        return Run(self.network, self.method, self.seed or 0, None, self.changes)

    def runs(self) -> tuple[Run, ...]:
        """The trainings that must be done before: of the measured network first, then of its twins."""
        if self.kind in UNTRAINED:
            return ()
        if self.kind == "spike-distances":
            return tuple(Run(self.network, self.method, int(seed)) for seed in self.grid)
        twins = TWINS if self.kind == "gradient-checks" else () if self.box == "white" else (self.box,)
        return (self.run, *(replace(self.run, twin=twin) for twin in twins))

    def spec(self, scale: Scale) -> AttackSpec | None:
        """The attack with all its options. Raises UsageError for what does not suit a rate-coded network."""
        if self.attack is None:
            return None
        if self.method != "rate":
            return attack_of(scale.recipe(self.run), self.attack, self.seed or 0)
        if self.attack.partition(":")[0] not in ("fgsm", "pgd"):
            raise UsageError(f"attack {self.attack!r}: a rate-coded network is only attacked by fgsm and pgd.")
        text = f"{self.attack}{',' if ':' in self.attack else ':'}draws={scale.draws}"
        return attack_of(scale.recipe(self.run), text, self.seed or 0)

    def settings(self, scale: Scale) -> dict[str, Any]:
        """Everything but the runs that decides the value, as JSON."""
        recipe = scale.recipe(self.run)
        if self.kind == "cost":
            data = {"images": recipe.data.train_images, "augment": recipe.data.augment}
            part = recipe.keyed(exclude={"ann", "attack", "data"})
            return {"batches": scale.cost_batches, "in turns": True, "recipe": {**part, **data}}
        found: dict[str, Any] = {"seed": self.seed, "grid": list(self.grid)}
        spec = self.spec(scale)
        found["images"] = self.images(scale)
        found["attack"] = spec and {"name": spec.name, "options": spec.resolved()}
        if self.kind == "gradient-checks":
            found["eps"] = recipe.attack.eps
        if self.kind == "quantised-ann":
            found["calibration"] = recipe.conversion.images
        if self.kind == "leak-distances":
            found["setting"] = dict(claims().fig5a)
        return found

    def images(self, scale: Scale) -> int:
        """Number of test images, 0 for all."""
        return scale.images if self.kind in ON_ALL_IMAGES else scale.analysed

    def seconds(self, scale: Scale) -> float:
        """Estimated time on the hardware of the scale."""
        recipe, setting, spec = scale.recipe(self.run), scale.setting(self.network), self.spec(scale)
        per_image = (setting.ann_ms if self.method == "ann" else setting.step_ms * recipe.snn.timesteps) / 1000
        if self.kind == "cost":
            return 8.0 + (scale.cost_batches + 10) * recipe.snn.batch_size * per_image
        if self.kind == "gradient-checks":
            return 200 * self.grid[0] * per_image
        options = {"iterations": 0} if spec is None else spec.resolved()
        gradients = options.get("iterations", 1) * options.get("draws", 1)
        return (self.images(scale) or 10_000) * per_image * (gradients + max(1, len(self.grid) / 2) / 3)


def accuracy(
    network: str, method: str, attack: str | None = None, box: str = "white", changes: Changes = ()
) -> Measurement:
    """Accuracy in percent, for every seed; clean images have no box."""
    if box not in BOXES:
        raise UsageError(f"box is {box!r}; {closest(box, BOXES)}.")
    return Measurement("accuracy", network, method, None, attack, box if attack else "white", changes)
