"""What the paper prints (claims.toml), the texts of the pages (texts.toml), and the scales (scales.toml)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from hiresnn import files
from hiresnn.app.quickstart import TWIN_SEED
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.errors import UsageError


def read_toml(name: str) -> dict[str, Any]:
    """The content of a TOML file beside this module."""
    return files.read_toml(Path(__file__).with_name(name))


CLAIMS, TEXTS = read_toml("claims.toml"), read_toml("texts.toml")
HEADLINE = CLAIMS["headline"]


def printed(*path: str) -> float | None:
    """The number at `path` in claims.toml, None where the paper prints none.

    >>> printed("table1", "vgg5-cifar10", "rate", "black", "pgd"), printed("table1", "resnet12-cifar10", "rate")
    (16.0, None)
    """
    entry: Any = CLAIMS
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return float(entry) if isinstance(entry, int | float) else None


def section(name: str) -> Any:
    """A text, or a section of texts, of texts.toml."""
    return reduce(getitem, name.split("."), TEXTS)


def text(name: str, **values: object) -> str:
    """A text of texts.toml, such as "fig9.caption", with its braces filled in."""
    return " ".join(section(name).split()).format(over_seeds=TEXTS["over_seeds"], **values)


VGG5, VGG11, DIGITS = "vgg5-cifar10", "vgg11-cifar100", "vgg5-mnist"  # Fig. 5a perturbs its digits on the last
VGGS = (VGG5, VGG11)
PANEL_LABELS: dict[str, str] = section("labels.panel")
LABELS: dict[str | None, str] = {
    None: "clean",
    "fgsm": "FGSM",
    "pgd": "PGD",
}  # of attacks, boxes, methods, models, data
LABELS |= section("labels.box") | section("labels.method") | section("labels.name")
ATTACKS = ("fgsm", "pgd")


def network_labels(network: str) -> tuple[str, str]:
    """(model, data set), such as ("VGG5", "CIFAR-10"), of a key such as "vgg5-cifar10"."""
    model, _, dataset = network.partition("-")
    return LABELS[model], LABELS[dataset]


def network_label(network: str) -> str:
    """Such as "VGG5 on CIFAR-10"."""
    return " on ".join(network_labels(network))


def left_out(printed_networks: Iterable[str], present: Iterable[str]) -> list[str]:
    """A sentence on the networks of the paper that a page lacks; none if it has all."""
    missing = [network_label(network) for network in printed_networks if network not in set(present)]
    return [text("missing", networks=", ".join(missing))] if missing else []


Changes = tuple[tuple[str, str], ...]  # changes of a recipe: pairs of dotted key and TOML text
TWINS = ("same-ann", "independent")  # black boxes: attacked on a twin of the same ANN, or of another one
BOXES = ("white", *TWINS)


class NotAtThisScaleError(Exception):
    """The scale has no network, or no black box, for a page."""


@dataclass(frozen=True)
class Run:
    """One trained network: key, method, seed, kind of TWINS if it is one, and changes beyond those of the scale."""

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
    rate_legacy: bool = False
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
    """A size of the reproduction, see scales.toml; `sources` maps a data source to what is loaded instead."""

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
    boxes: tuple[str, ...] = BOXES
    artefacts: tuple[str, ...] = ()
    cost_batch: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)

    def changed(self, *, seeds: int | None, sources: Mapping[str, str], networks: Collection[str]) -> Scale:
        """The scale with the options of the command line. Raises UsageError for what it does not have."""
        used = sorted({self.source(network) for network in self.networks})
        if unknown := sorted(set(sources) - set(used)):
            raise UsageError(
                f"--data {unknown[0]}: scale {self.name} has no data of that name, only {', '.join(used)}."
            )
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds is {seeds}; a reproduction needs at least 1.")
        chosen = {name: self.setting(name) for name in networks} or self.networks
        settings = {name: self.networks[name] for name in self.networks if name in chosen}
        for name, setting in settings.items() if seeds else ():
            settings[name] = replace(setting, seeds=seeds, rate_seeds=seeds if setting.rate_seeds else 0)
        return replace(self, networks=settings, seeds=seeds or self.seeds, sources=dict(sources))

    @property
    def twins(self) -> tuple[str, ...]:
        return tuple(box for box in self.boxes if box != "white")

    def some(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Those of some networks that the scale has, in order. Raises NotAtThisScaleError where there are none."""
        if not (present := tuple(network for network in networks if network in self.networks)):
            raise NotAtThisScaleError
        return present

    def setting(self, network: str) -> Setting:
        if network not in self.networks:
            raise UsageError(f"scale {self.name} has no network {network!r}; it has {', '.join(self.networks)}.")
        return self.networks[network]

    def seeds_of(self, network: str, method: str = "") -> tuple[int, ...]:
        setting = self.setting(network)
        return tuple(range(min(self.seeds, setting.rate_seeds if method == "rate" else setting.seeds)))

    def is_rated(self, network: str) -> bool:
        """Whether a network is also rate-coded: the paper has no such ResNet12, and a scale may train none."""
        return "rate" in CLAIMS["table1"].get(network, ()) and bool(self.seeds_of(network, "rate"))

    def counts_rate(self, network: str) -> bool:
        """Whether comparisons with the rate-coded network are counted: not with one of version 0.2."""
        return not self.setting(network).rate_legacy

    def logit_factor(self, run: Run) -> float:
        """What an attack multiplies logits by: those of a rate-coded network count as sums over the direct one's T.

        Cross-entropy saturates on large logits, so an attack on a sum over more steps is weaker, whatever the coding.
        """
        if run.method != "rate" or not self.counts_rate(run.network):
            return 1.0
        return self.recipe(replace(run, method="traditional")).snn.timesteps / self.recipe(run).snn.timesteps

    def rated(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Those of some networks that are trained in both codings. Raises NotAtThisScaleError where there are none."""
        return self.some(network for network in self.some(networks) if self.is_rated(network))

    def source(self, network: str) -> str:
        setting = self.setting(network)
        named = setting.source or _read(setting.recipe).data.source
        return self.sources.get(named, named)

    def recipe(self, run: Run) -> Recipe:
        setting, source = self.setting(run.network), self.source(run.network)
        values = {"name": json.dumps(run.network), "data.source": json.dumps(source), "method": run.method}
        return _recipe(setting.recipe, tuple((values | setting.values(run)).items()))

    def ann_of(self, run: Run) -> Run:
        """The training of the ANN that a spiking network starts from; that of a rate-coded one may be its own."""
        own = self.setting(run.network).rate_changes if run.method == "rate" else {}
        return Run(run.network, "ann", self.recipe(run).ann_seed, None, (*own.items(), *run.changes))

    def cost_recipe(self, run: Run) -> Recipe:
        """The recipe whose cost Fig. 7 measures: with `cost_batch` images per batch, where the scale says so."""
        recipe = self.recipe(run)
        batch = self.cost_batch or recipe.snn.batch_size
        return recipe.model_copy(update={"snn": recipe.snn.model_copy(update={"batch_size": batch})})

    def setting_notes(self, networks: Iterable[str], *, rated: bool) -> list[str]:
        """One sentence per network on data, images, seeds and attack; if `rated`, also on rate-coded networks."""
        notes = []
        for network in networks:
            recipe = self.recipe(Run(network, "hire"))
            named = {"network": network_label(network), "seeds": seeds_label(self.seeds_of(network))}
            data = {"source": Path(recipe.data.source).name, "images": images_label(self.images)}
            data["trained"] = f"{recipe.data.train_images:,}" if recipe.data.train_images else "all"
            vgg = network.startswith("vgg")  # only these have hidden layers
            data["hidden"] = f"{recipe.model.hidden:,} hidden units, " if vgg else ""
            note = text("setting", scale=self.name, recipe=recipe, eps=255 * recipe.attack.eps, **named, **data)
            if rated and self.is_rated(network):
                rate, setting = self.recipe(Run(network, "rate")), self._rated_setting(network)
                note += " " + text("setting_rate", setting=setting, recipe=rate)
                note += " " + text("rate_input" if self.counts_rate(network) else "rate_legacy")
            notes.append(note)
        return notes

    def _rated_setting(self, network: str) -> str:
        return f"T = {self.setting(network).rate_timesteps}, {seeds_label(self.seeds_of(network, 'rate'))}"

    def subtitle(self, networks: Iterable[str], images: str = "") -> str:
        """Networks with their data and seeds, and the images: what a figure must say to be read alone."""
        names = [f"{network_label(name)} ({seeds_label(self.seeds_of(name))})" for name in networks]
        return ", ".join([*names, images or images_label(self.images), f"scale {self.name}"])

    def analysed_label(self, networks: Iterable[str]) -> str:
        """The analysed images, and the T and seeds of the rate-coded networks, which may be others."""
        settings = {network_labels(name)[0]: self._rated_setting(name) for name in networks if self.is_rated(name)}
        rated = [f"rate-coded {model}: {setting}" for model, setting in settings.items()]
        if len(set(settings.values())) == 1:
            rated = [f"rate-coded: {setting}" for setting in set(settings.values())]
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
