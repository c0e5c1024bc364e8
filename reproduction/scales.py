"""The size of a reproduction (scales.toml): which networks, images and seeds, the grids, and the recipe of each run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hiresnn.app.quickstart import TWIN_SEED
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.errors import UsageError
from reproduction.paper import CLAIMS, network_label, network_labels, read_toml, text

Changes = tuple[tuple[str, str], ...]  # changes of a recipe: pairs of dotted key and TOML text
TWINS = ("same-ann", "independent")
"""Kinds of black box: images made on a twin that shares the ANN, or that shares nothing but the data."""
BOXES = ("white", *TWINS)


class NotAtThisScaleError(Exception):
    """The scale has no network, or no black box, for a page."""


@dataclass(frozen=True)
class Run:
    """One trained network, such as "vgg5-cifar10" by "hire" with a seed of everything random.

    A twin is "same-ann" (another seed for the SNN, the same ANN) or "independent" (another seed for both). `changes`
    are made to the recipe beyond those of the scale.
    """

    network: str
    method: str
    seed: int = 0
    twin: str | None = None
    changes: Changes = ()


@dataclass(frozen=True)
class Setting:
    """One network of the paper at one scale; scales.toml describes the fields."""

    recipe: str
    changes: Mapping[str, str] = field(default_factory=dict)
    seeds: int = 1
    rate_timesteps: int = 150
    rate_changes: Mapping[str, str] = field(default_factory=dict)
    rate_seeds: int = 1
    training_images: int = 50_000
    ann_ms: float = 0.1
    step_ms: float = 0.1
    source: str = ""

    def values(self, run: Run) -> dict[str, str]:
        """What a run changes in the recipe of the package: dotted key -> TOML text, without name, data and method."""
        values = {**self.changes, "seed": str(run.seed)}
        if run.method == "rate":
            values |= {"snn.timesteps": str(self.rate_timesteps), **self.rate_changes}
        if run.twin == "same-ann":
            values |= {"seed": str(run.seed + TWIN_SEED), "ann.seed": str(run.seed)}
        elif run.twin == "independent":
            values["seed"] = str(run.seed + 1)
        return values | dict(run.changes)


@dataclass(frozen=True)
class Scale:
    """A size of the reproduction; scales.toml describes the fields.

    `sources` maps the data source of a recipe to what is loaded instead, {"cifar10": "cifar10.npz"}.
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
    analysed: int
    cost_batches: int
    random_draws: int
    hardware: str
    boxes: tuple[str, ...] = BOXES
    artefacts: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def changed(self, *, seeds: int | None, sources: Mapping[str, str], networks: Collection[str]) -> Scale:
        """The scale with the options of the command line. Raises UsageError for what it does not have."""
        used = sorted({self._named_source(network) for network in self.networks})
        if unknown := sorted(set(sources) - set(used)):
            raise UsageError(
                f"--data {unknown[0]}=...: scale {self.name} has no data of that name; it has {', '.join(used)}."
            )
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds is {seeds}; a reproduction needs at least 1.")
        for name in networks:
            self.setting(name)
        settings = {name: self.networks[name] for name in self.networks if name in networks or not networks}
        for name, setting in settings.items() if seeds else ():
            settings[name] = replace(setting, seeds=seeds, rate_seeds=seeds if setting.rate_seeds else 0)
        return replace(self, networks=settings, seeds=seeds or self.seeds, sources=dict(sources))

    @property
    def twins(self) -> tuple[str, ...]:
        """The black boxes."""
        return tuple(box for box in self.boxes if box != "white")

    def some(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Those of some networks that the scale has, in order. Raises NotAtThisScaleError where there are none."""
        if not (present := tuple(network for network in networks if network in self.networks)):
            raise NotAtThisScaleError
        return present

    def setting(self, network: str) -> Setting:
        """The setting of a network. Raises UsageError where the scale has no such network."""
        if network not in self.networks:
            raise UsageError(f"scale {self.name} has no network {network!r}; it has {', '.join(self.networks)}.")
        return self.networks[network]

    def seeds_of(self, network: str, method: str = "") -> tuple[int, ...]:
        """The seeds of a network; the method "rate" may have fewer."""
        setting = self.setting(network)
        return tuple(range(min(self.seeds, setting.rate_seeds if method == "rate" else setting.seeds)))

    def is_rated(self, network: str) -> bool:
        """Whether a network is also rate-coded: the paper has no such ResNet12, and a scale may train none."""
        return "rate" in CLAIMS["table1"].get(network, ()) and bool(self.seeds_of(network, "rate"))

    def rated(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Those of some networks that are trained in both codings. Raises NotAtThisScaleError where there are none."""
        return self.some(network for network in self.some(networks) if self.is_rated(network))

    def source(self, network: str) -> str:
        """The data source of a network: a name, a file or a folder."""
        named = self._named_source(network)
        return self.sources.get(named, named)

    def _named_source(self, network: str) -> str:
        setting = self.setting(network)
        return setting.source or _read(setting.recipe).data.source

    def recipe(self, run: Run) -> Recipe:
        """The full recipe of a run."""
        setting, source = self.setting(run.network), self.source(run.network)
        values = {"name": json.dumps(run.network), "data.source": json.dumps(source), "method": run.method}
        return _recipe(setting.recipe, tuple((values | setting.values(run)).items()))

    # How the pages describe it

    def setting_notes(self, networks: Iterable[str], *methods: str) -> list[str]:
        """One sentence per network on data, images, seeds and attack; with "rate", also on rate-coded networks."""
        notes = []
        for network in networks:
            recipe = self.recipe(Run(network, "hire"))
            attack, steps, noise = recipe.attack, recipe.snn.timesteps, recipe.noise.step
            strength = {"eps": 255 * attack.eps, "step": attack.step, "iterations": attack.iterations, "noise": noise}
            data = {"source": Path(recipe.data.source).name, "images": images_label(self.images)}
            named = {"network": network_label(network), "seeds": seeds_label(self.seeds_of(network))}
            note = text("setting", scale=self.name, timesteps=steps, **named, **data, **strength)
            if "rate" in methods and self.is_rated(network):
                steps, seeds = self.setting(network).rate_timesteps, seeds_label(self.seeds_of(network, "rate"))
                note += " " + text("setting_rate", timesteps=steps, seeds=seeds)
            notes.append(note)
        return notes

    def subtitle(self, networks: Iterable[str], images: str = "") -> str:
        """Networks with their data and seeds, and the images: what a figure must say to be read alone."""
        names = [f"{network_label(name)} ({seeds_label(self.seeds_of(name))})" for name in networks]
        return ", ".join([*names, images or images_label(self.images), f"scale {self.name}"])

    def analysed_label(self, networks: Iterable[str]) -> str:
        """The analysed images, and the T and seeds of the rate-coded networks, which may be others."""
        settings = {
            name: f"T = {self.setting(name).rate_timesteps}, {seeds_label(self.seeds_of(name, 'rate'))}"
            for name in networks
            if self.is_rated(name)
        }
        rated = [f"rate-coded {network_labels(name)[0]}: {setting}" for name, setting in settings.items()]
        if len(set(settings.values())) == 1:
            rated = [f"rate-coded: {next(iter(settings.values()))}"]
        return ", ".join([images_label(self.analysed), *rated])


def images_label(count: int) -> str:
    """Number of test images, where 0 means all."""
    return f"{count:,} test images" if count else "all test images"


def seeds_label(seeds: tuple[int, ...]) -> str:
    """Such as "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


_read = cache(read)


@lru_cache(maxsize=4096)  # one page asks for the same recipe many times
def _recipe(name: str, values: Changes) -> Recipe:
    return override(_read(name), dict(values), "reproduce")


def _scale(name: str, content: Mapping[str, Any]) -> Scale:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    every, networks = fields.pop("every"), {}
    for network, setting in fields["networks"].items():
        changes = {**every.get("changes", {}), **setting.get("changes", {})}
        networks[network] = Setting(**{**every, **setting, "changes": changes})
    return Scale(**{**fields, "name": name, "networks": networks})


SCALES: dict[str, Scale] = {name: _scale(name, content) for name, content in read_toml("scales.toml").items()}
"""Name -> scale."""
