"""The data of a scale's networks: where they come from, and the test images that are shown."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hiresnn import data
from hiresnn.data import DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.paper.identity import content_of
from hiresnn.paper.scales import Scale
from hiresnn.runs.context import device_of
from hiresnn.runs.recipe import override, read

__all__ = ["Images"]


class Images:
    """Loads each data set once, when it is first asked for.

    Args:
        scale: the networks.
        sources: what to load in place of a recipe's data source, `{"cifar10": "cifar10.npz"}`.

    Raises:
        UsageError: a source that no network of the scale asks for.
    """

    def __init__(self, scale: Scale, sources: Mapping[str, str]) -> None:
        self._recipes = {
            network: override(read(setting.recipe), setting.changes) for network, setting in scale.networks.items()
        }
        asked = sorted({recipe.data.source for recipe in self._recipes.values()})
        if unknown := sorted(set(sources) - set(asked)):
            raise UsageError(
                f"--data {unknown[0]}=...: scale {scale.name} has no data of that name; it has {', '.join(asked)}."
            )
        self._sources = dict(sources)
        self._loaded: dict[str, DataSet] = {}
        self._contents: dict[str, str] = {}

    def __getstate__(self) -> dict[str, object]:
        # A copy in a worker loads its own data.
        return {**self.__dict__, "_loaded": {}}

    def source(self, network: str) -> str:
        """The data source of a network."""
        named = self._recipes[network].data.source
        return self._sources.get(named, named)

    def content(self, network: str) -> str:
        """What stands for the content of a network's data in the name of a run, see `content_of`."""
        source = self.source(network)
        if source not in self._contents:
            self._contents[source] = content_of(source)
        return self._contents[source]

    def device(self, network: str) -> str:
        """The device on which a network is trained and measured."""
        return device_of(self._recipes[network])

    def whole(self, network: str) -> DataSet:
        """The data set of a network."""
        source = self.source(network)
        if source not in self._loaded:
            self._loaded[source] = data.load(source)
        return self._loaded[source]

    def test(self, network: str, count: int) -> Split:
        """The first `count` test images (0: all), class by class in turn."""
        test = self.whole(network).test
        return data.first(test, min(count, len(test)))

    def shown(self, network: str, count: int) -> tuple[Tensor, Tensor]:
        """Those images [B, C, H, W] in [0, 1] and their labels [B], on the network's device."""
        chosen, device = self.test(network, count), self.device(network)
        return chosen.images.to(device) / 255, chosen.labels.to(device)
