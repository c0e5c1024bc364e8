"""Training noise that is crafted on the rate twin: the ANN that shares the weights of a spiking network."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hiresnn.attacks.gate import frozen
from hiresnn.errors import UsageError
from hiresnn.network import Encoder, SharedDropout, SpikingNetwork, record
from hiresnn.neurons import LIF, Window
from hiresnn.training.adversarial import Adversarial

EVERY = 100
"""Batches between two measurements of the gate and of the scales."""
SAMPLE = 32
"""Images that they are measured on."""


class RateTwin(fx.Interpreter):
    """Computes the graph of a spiking network with rates instead of spikes, once instead of T times.

        r = clip(s * I / threshold - (1/2 - start) / T, 0, 1),   logits = T * (last layer of r)

    I is the input from the rates of the layers before; the offset is the mean loss by rounding. Dropout is left out.

    Args:
        network: its weights are used as they are at each call.

    Attributes:
        scales: layer name -> s, 1 before `fit`.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__(network.layers)
        self.extra_traceback = False
        self.network = network
        self.scales = dict.fromkeys(network.neurons, 1.0)
        self._wanted: dict[str, float] = {}  # layer name -> mean spike rate of the network; empty except during `fit`

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits [B, K] for images [B, C, H, W] in [0, 1]."""
        logits: Tensor = self.run(images, Window(1, len(images)))
        return self.network.timesteps * logits

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Choose every s so that the twin's mean rate is that of the network; layers in order, each after the last."""
        with frozen(self.network), record(self.network) as spikes:
            self.network(images)
        self._wanted = {name: float(each.mean()) for name, each in spikes.items()}
        self(images)
        self._wanted = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Compute a layer; neurons and Poisson encoders give their rate, dropout its input."""
        layer = self.fetch_attr(target)
        if isinstance(layer, SharedDropout):
            return args[0]
        if isinstance(layer, Encoder) and layer.encoding == "poisson":
            return args[0].clamp(-1, 1)  # the mean of its spikes
        if isinstance(layer, LIF):
            return self._rate(target, layer, args[0])
        return super().call_module(target, args, kwargs)

    def _rate(self, name: str, lif: LIF, current: Tensor) -> Tensor:
        lost = (0.5 - lif.start) / self.network.timesteps

        def at(scale: float) -> Tensor:
            return (scale * current / lif.threshold - lost).clamp(0, 1)

        if self._wanted:
            found = float(at(1.0).mean())
            self.scales[name] = min(max(self._wanted[name] / found, 0.5), 2.0) if found else 1.0
        return at(self.scales[name])


class TwinNoise(Adversarial):
    """N-FGSM on the rate twin, at the cost of two passes of one timestep; for the options see `Adversarial`.

    Every EVERY batches the twin is fitted to the network, and the gate q is measured: how much of the loss that noise
    crafted on the network itself adds is also added by the twin's,

        q = (CE(f(x + d_twin)) - CE(f(x))) / (CE(f(x + d_own)) - CE(f(x))).

    Below about 0.7 the twin is no longer like its network, and "nfgsm", which costs more, is the better choice.
    """

    def __init__(self, step: float, *, start: float = 0.0, bound: float = math.inf, iterations: int = 1) -> None:
        super().__init__(step, start=start, bound=bound, iterations=iterations)
        self.batches = 0
        self.gates: list[float] = []  # since the last report
        self.scales: dict[str, float] = {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch."""
        if not isinstance(model, SpikingNetwork):
            raise UsageError(f"the noise of a rate twin needs a spiking network, not {type(model).__name__}.")
        twin = RateTwin(model)
        if self.batches % EVERY == 0:
            twin.fit(images[:SAMPLE])
            self.scales = twin.scales
            self._gate(model, twin, images[:SAMPLE], labels[:SAMPLE])
        self.batches += 1
        twin.scales = self.scales
        self.delta = self.crafted(twin, images, labels)

    def _gate(self, model: SpikingNetwork, twin: RateTwin, images: Tensor, labels: Tensor) -> None:
        with frozen(model), torch.random.fork_rng([]):
            own, other = self.crafted(model, images, labels), self.crafted(twin, images, labels)
            with torch.no_grad():
                shown = (images, (images + other).clamp(0, 1), (images + own).clamp(0, 1))
                clean, by_twin, by_own = (float(F.cross_entropy(model(each).float(), labels)) for each in shown)
        if by_own > clean:
            self.gates.append((by_twin - clean) / (by_own - clean))

    def report(self) -> dict[str, Any]:
        """Return the mean gate since the last report."""
        gates, self.gates = self.gates, []
        return {"gate": round(sum(gates) / len(gates), 3)} if gates else {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the number of batches so far and the scales."""
        return {"batches": torch.tensor(self.batches), **{f"s {k}": torch.tensor(v) for k, v in self.scales.items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.batches = int(state.get("batches", 0))
        self.scales = {name[2:]: value.item() for name, value in state.items() if name.startswith("s ")}
