"""At which size the paper is reproduced: smoke (minutes on digits), cpu (small networks, CIFAR), paper (as printed).

A scale is data alone: the same code runs at every one. Times are for estimates before anything has run; they change
no result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from hiresnn.errors import UsageError


@dataclass(frozen=True)
class Setting:
    """One network of the paper at one scale.

    Attributes:
        recipe: name of the shipped recipe.
        changes: what this scale changes in it, dotted key -> TOML text, as `hiresnn train --set` takes it.
        seeds: seeds at most, the first so many of the study's.
        rate_timesteps: T of the rate-coded baseline; at the paper's scale 25 times the direct-coded T, its Fig. 10a.
        rate_changes: further changes for the method "rate".
        rate_seeds: seeds at most of the method "rate", which costs as many times more as its T is longer.
        training_images: images an epoch shows, for estimates.
        ann_ms: milliseconds to train an ANN on one image, for estimates.
        step_ms: milliseconds to train or attack an SNN on one image for one timestep, for estimates.
    """

    recipe: str
    changes: Mapping[str, str] = field(default_factory=dict)
    seeds: int = 1
    rate_timesteps: int = 150
    rate_changes: Mapping[str, str] = field(default_factory=dict)
    rate_seeds: int = 1
    training_images: int = 50_000
    ann_ms: float = 0.1
    step_ms: float = 0.1


@dataclass(frozen=True)
class Scale:
    """A size of the reproduction, and the grids of its sweeps.

    Attributes:
        networks: key such as "vgg5-cifar10" -> its setting; keys that are missing are left out of every table.
        images: test images that are attacked, class by class in turn; 0 takes all.
        seeds: number of seeds, where the command line names none.
        draws: Poisson draws that a gradient of the rate-coded network is averaged over (EOT).
        timesteps: T of Fig. 4.
        swept: networks of Fig. 9 and 10b-e, which ask for the most trainings.
        noise_steps: eps_s of Fig. 10b-e in pixel units, without 0, which is traditional training.
        eps: bounds of Fig. 8a as text; iterations: K of Fig. 8b.
        leaks: leak of Fig. 5a.
        analysed: test images whose spikes and operations are counted (Fig. 1b, 3, 11).
        cost_batches: batches timed for Fig. 7.
        random_draws: random perturbations an image of check (v) in Table 4.
        hardware: what the times of the estimates are for, in words.
    """

    name: str
    networks: Mapping[str, Setting]
    images: int
    seeds: int
    draws: int
    timesteps: tuple[int, ...]
    swept: tuple[str, ...]
    noise_steps: tuple[float, ...]
    eps: tuple[str, ...]
    iterations: tuple[int, ...]
    leaks: tuple[float, ...]
    analysed: int
    cost_batches: int
    random_draws: int
    hardware: str

    def with_seeds(self, count: int) -> Scale:
        """The same scale with `count` seeds for every network and method. Raises UsageError below 1."""
        if count < 1:
            raise UsageError(f"--seeds is {count}; a reproduction needs at least 1.")
        networks = {key: replace(setting, seeds=count, rate_seeds=count) for key, setting in self.networks.items()}
        return replace(self, networks=networks, seeds=count)

    def only(self, names: Collection[str]) -> Scale:
        """The same scale with these of its networks alone. Raises UsageError for one that it does not have."""
        if unknown := sorted(set(names) - set(self.networks)):
            raise UsageError(f"scale {self.name} has no network {unknown[0]!r}; it has {', '.join(self.networks)}.")
        return replace(self, networks={key: setting for key, setting in self.networks.items() if key in names})


_TINY = {
    "data.train_images": "600",
    "model.width": "0.125",
    "model.hidden": "32",
    "ann.batch_size": "32",
    "ann.lr": "0.05",
    "snn.lr": "0.003",
    "conversion.images": "128",
    "compile": '"never"',
    "device": '"cpu"',
}


def _tiny(model: str, steps: int, noise: str, **more: str) -> Setting:
    """A network of a second on the embedded digits."""
    own = {"model.name": f'"{model}"', "snn.timesteps": str(steps), "noise.step": noise}
    epochs = {"ann.epochs": "6", "snn.epochs": "2"}
    more = {key.replace("__", "."): value for key, value in more.items()}
    return Setting(
        "digits",
        {**_TINY, **epochs, **own, **more},
        rate_timesteps=20,
        training_images=600,
        ann_ms=0.3,
        step_ms=0.2,
    )


_SMOKE = Scale(
    name="smoke",
    networks={
        "vgg5-cifar10": _tiny("vgg5", 4, "0.05"),
        # Eleven layers without batch norm learn nothing in six epochs of so few images.
        "vgg11-cifar100": _tiny(
            "vgg11",
            4,
            "0.05",
            model__hidden="64",
            model__dropout="0.0",
            ann__epochs="20",
            ann__batch_size="16",
            ann__lr="0.02",
        ),
        "resnet12-cifar10": _tiny("resnet12", 4, "0.03"),
        "resnet12-cifar100": _tiny("resnet12", 4, "0.05"),
    },
    images=100,
    seeds=1,
    draws=2,
    timesteps=(2, 4),
    swept=("vgg5-cifar10", "vgg11-cifar100"),
    noise_steps=(0.02, 0.05),
    eps=("8/255", "32/255", "96/255"),
    iterations=(1, 7, 20),
    leaks=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    analysed=100,
    cost_batches=3,
    random_draws=20,
    hardware="one core of a 2023 server",
)

_CPU = Scale(
    name="cpu",
    networks={
        "vgg5-cifar10": Setting(
            "vgg5-cifar10-cpu",
            seeds=3,
            rate_timesteps=25,
            rate_changes={"snn.epochs": "2"},
            training_images=20_000,
            ann_ms=0.7,
            step_ms=0.6,
        ),
        "vgg11-cifar100": Setting(
            "vgg11-cifar100-cpu",
            {"snn.epochs": "2", "snn.lr": "3e-4"},
            rate_timesteps=25,
            training_images=20_000,
            ann_ms=1.0,
            step_ms=0.8,
        ),
        "resnet12-cifar10": Setting(
            "resnet12-cifar10-cpu",
            {"snn.epochs": "2", "snn.lr": "3e-4"},
            training_images=20_000,
            ann_ms=0.8,
            step_ms=0.7,
        ),
    },
    images=1000,
    seeds=3,
    draws=4,
    timesteps=(2, 4, 8),
    swept=("vgg5-cifar10",),
    noise_steps=(0.012, 0.024),
    eps=("1/255", "2/255", "4/255", "8/255", "16/255"),
    iterations=(1, 3, 7, 20, 40, 60),
    leaks=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    analysed=500,
    cost_batches=50,
    random_draws=100,
    hardware="two cores of a 2023 server",
)

_PAPER = Scale(
    name="paper",
    networks={
        "vgg5-cifar10": Setting("vgg5-cifar10", seeds=3, rate_timesteps=150, ann_ms=0.06, step_ms=0.06),
        "vgg11-cifar100": Setting("vgg11-cifar100", seeds=3, rate_timesteps=200, ann_ms=0.1, step_ms=0.1),
        "resnet12-cifar10": Setting("resnet12-cifar10", seeds=3, ann_ms=0.12, step_ms=0.12),
        "resnet12-cifar100": Setting("resnet12-cifar100", seeds=3, ann_ms=0.12, step_ms=0.12),
    },
    images=0,
    seeds=3,
    draws=10,
    timesteps=(2, 4, 6, 8, 10),
    swept=("vgg5-cifar10", "vgg11-cifar100"),
    noise_steps=(0.01, 0.015, 0.02, 0.025, 0.03),
    eps=("1/255", "2/255", "4/255", "8/255", "16/255", "32/255", "64/255", "128/255"),
    iterations=(1, 2, 4, 7, 10, 20, 40, 60, 80, 100),
    leaks=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
    analysed=0,
    cost_batches=200,
    random_draws=1000,
    hardware="one recent data-centre GPU",
)

SCALES: dict[str, Scale] = {scale.name: scale for scale in (_SMOKE, _CPU, _PAPER)}
"""Name -> scale."""
