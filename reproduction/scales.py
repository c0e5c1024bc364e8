"""The size of a reproduction: which networks, how many images and seeds, and the grids of the sweeps.

The scales themselves are data, in scales.toml beside this file; the same code runs at every one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from hiresnn.app.quickstart import TWIN_SEED
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.errors import UsageError
from reproduction.claims import claims, read_toml
from reproduction.measurements import BOXES, Changes, Run


@dataclass(frozen=True)
class Setting:
    """One network of the paper at one scale; scales.toml describes the fields."""

    recipe: str
    changes: Changes = ()
    seeds: int = 1
    rate_timesteps: int = 150
    rate_changes: Changes = ()
    rate_seeds: int = 1
    training_images: int = 50_000
    ann_ms: float = 0.1
    step_ms: float = 0.1
    source: str = ""

    def values(self, run: Run) -> dict[str, str]:
        """What a run changes in the recipe of the package: dotted key -> TOML text, without name, data and method."""
        values = {**dict(self.changes), "seed": str(run.seed)}
        if run.method == "rate":
            values |= {"snn.timesteps": str(self.rate_timesteps), **dict(self.rate_changes)}
        if run.twin == "same-ann":
            if run.method == "ann":
                raise UsageError("an ANN has no twin from the same ANN; use the independent twin.")
            values |= {"seed": str(run.seed + TWIN_SEED), "ann.seed": str(run.seed)}
        elif run.twin == "independent":
            values["seed"] = str(run.seed + 1)
        elif run.twin is not None:
            raise UsageError(f"twin is {run.twin!r}; choose same-ann or independent.")
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

    def with_seeds(self, count: int) -> Scale:
        """The same scale with `count` seeds for every network and method. Raises UsageError below 1."""
        if count < 1:
            raise UsageError(f"--seeds is {count}; a reproduction needs at least 1.")
        networks = {
            key: replace(setting, seeds=count, rate_seeds=count if setting.rate_seeds else 0)
            for key, setting in self.networks.items()
        }
        return replace(self, networks=networks, seeds=count)

    def only(self, names: Collection[str]) -> Scale:
        """The same scale with these networks only. Raises UsageError for one that it does not have."""
        for name in names:
            self.setting(name)
        return replace(self, networks={key: setting for key, setting in self.networks.items() if key in names})

    def with_sources(self, sources: Mapping[str, str]) -> Scale:
        """The same scale with other data. Raises UsageError for a source that none of its recipes uses."""
        used = sorted({self._named(network) for network in self.networks})
        if unknown := sorted(set(sources) - set(used)):
            raise UsageError(
                f"--data {unknown[0]}=...: scale {self.name} has no data of that name; it has {', '.join(used)}."
            )
        return replace(self, sources=dict(sources))

    @property
    def twins(self) -> tuple[str, ...]:
        """The black boxes."""
        return tuple(box for box in self.boxes if box != "white")

    def present(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Those of some networks that the scale has, in their order."""
        return tuple(network for network in networks if network in self.networks)

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
        return "rate" in claims().table1.get(network, ()) and bool(self.seeds_of(network, "rate"))

    def source(self, network: str) -> str:
        """The data source of a network: a name, a file or a folder."""
        named = self._named(network)
        return self.sources.get(named, named)

    def _named(self, network: str) -> str:
        setting = self.setting(network)
        return setting.source or _source(setting.recipe)

    def recipe(self, run: Run) -> Recipe:
        """The full recipe of a run. Raises UsageError or RecipeError where the run does not suit the scale."""
        return _recipe(self.setting(run.network), self.source(run.network), run)


@cache
def _source(recipe: str) -> str:
    return read(recipe).data.source


@lru_cache(maxsize=4096)  # one page asks for the same recipe many times
def _recipe(setting: Setting, source: str, run: Run) -> Recipe:
    values = {"name": json.dumps(run.network), "data.source": json.dumps(source), "method": run.method}
    return override(read(setting.recipe), values | setting.values(run), "reproduce")


def _scale(name: str, content: Mapping[str, Any]) -> Scale:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    shared = fields.pop("every")
    networks = {}
    for key, own in fields["networks"].items():
        setting = {**shared, **own, "changes": {**shared.get("changes", {}), **own.get("changes", {})}}
        pairs = {each: tuple(setting.get(each, {}).items()) for each in ("changes", "rate_changes")}
        networks[key] = Setting(**{**setting, **pairs})
    return Scale(**{**fields, "name": name, "networks": networks})


SCALES: dict[str, Scale] = {name: _scale(name, content) for name, content in read_toml("scales.toml").items()}
"""Name -> scale."""
