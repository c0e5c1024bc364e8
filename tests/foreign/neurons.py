"""Stand-ins for the neurons of other libraries, as far as an adapter looks: they need no library to be installed."""

from typing import NamedTuple

import pytest
import torch
from torch import nn


class Surrogate(nn.Module):
    """Spikes at the threshold and above; its own slope is 1."""

    def forward(self, x):
        return (x >= 0).to(x) + x - x.detach()


class IFNode(nn.Module):
    """SpikingJelly: soft reset, a surrogate module, and no gradient in eval mode."""

    def __init__(self, v_threshold=2.0, detach_reset=True, step_mode="s"):
        super().__init__()
        self.v_threshold, self.detach_reset, self.step_mode = v_threshold, detach_reset, step_mode
        self.surrogate_function = Surrogate()
        self.v = 0.0

    def reset(self):
        self.v = 0.0

    def forward(self, current):
        return torch.stack([self.step(now) for now in current]) if self.step_mode == "m" else self.step(current)

    def step(self, current):
        u = self.v + current
        spikes = self.surrogate_function(u - self.v_threshold) if self.training else (u >= self.v_threshold).to(u)
        self.v = u - (spikes.detach() if self.detach_reset else spikes) * self.v_threshold
        return spikes


class Leaky(nn.Module):
    """snnTorch: state in the module, strict comparison, the reset one step later."""

    def __init__(self, beta=0.5, threshold=2.0, output=False):
        super().__init__()
        self.beta, self.output = beta, output
        self.spike_grad = lambda x: (x > 0).float()
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("mem", torch.zeros(0), persistent=False)

    def reset_mem(self):
        self.mem = torch.zeros_like(self.mem)

    def forward(self, current):
        if self.mem.shape != current.shape:
            self.mem = torch.zeros_like(current)
        reset = self.spike_grad(self.mem - self.threshold).detach()
        self.mem = self.beta * self.mem + current - reset * self.threshold
        spikes = self.spike_grad(self.mem - self.threshold)
        return (spikes, self.mem) if self.output else spikes


class SingleSpike(torch.autograd.Function):
    """sinabs: a spike function with at most one spike, at the threshold and above."""

    @staticmethod
    def forward(ctx, u, threshold, surrogate):
        ctx.save_for_backward(u)
        ctx.threshold, ctx.surrogate = threshold, surrogate
        return (u >= threshold).to(u)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.surrogate(ctx.saved_tensors[0], ctx.threshold), None, None


class IAF(nn.Module):
    """sinabs on [B, T, ...]: soft reset, state in a buffer."""

    def __init__(self, threshold=2.0):
        super().__init__()
        self.spike_threshold = torch.tensor(threshold)
        self.spike_fn, self.surrogate_grad_fn = SingleSpike, lambda u, threshold: torch.ones_like(u)
        self.register_buffer("v_mem", torch.zeros(0))

    def reset_states(self):
        self.v_mem.zero_().detach_()  # as the library does: in place

    def forward(self, current):
        u, spikes = self.v_mem if self.v_mem.numel() else torch.zeros_like(current[:, 0]), []
        for now in current.unbind(1):
            u = u + now
            spikes.append(self.spike_fn.apply(u, self.spike_threshold, self.surrogate_grad_fn))
            u = u - spikes[-1] * self.spike_threshold
        self.v_mem = u
        return torch.stack(spikes, 1)


class IAFSqueeze(IAF):
    """sinabs on [B*T, ...]."""

    def __init__(self, threshold=2.0, batch_size=1):
        super().__init__(threshold)
        self.batch_size, self.num_timesteps = batch_size, -1

    def squeeze_forward(self, current, forward):
        return forward(current.reshape(self.batch_size, self.num_timesteps, *current.shape[1:])).flatten(0, 1)

    def forward(self, current):
        return self.squeeze_forward(current, super().forward)


class Parameters(NamedTuple):
    method: str = "super"


class Count(nn.Module):
    """norse's cells: state in, state out. Its output is its input, t times at step t from 1."""

    p = Parameters()

    def forward(self, images, state=None):
        state = 1 if state is None else state + 1
        return state * images.flatten(1), state


class SNN(nn.Module):
    """The base of norse's modules that take a sequence [T, B, ...]."""

    p = Parameters()

    def forward(self, steps, state=None):
        return steps.flatten(2).cumsum(0), state


def real(library):
    """Return a function that makes the library's own neuron, with the options of the stand-in; skips without it."""
    if library == "spikingjelly":
        neuron = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
        return lambda v_threshold=2.0, detach_reset=True, **options: neuron.IFNode(
            v_threshold, None, detach_reset=detach_reset, **options
        )
    if library == "snntorch":
        snn = pytest.importorskip("snntorch", exc_type=ImportError)
        return lambda beta=0.5, threshold=2.0, **options: snn.Leaky(beta, threshold, init_hidden=True, **options)
    layers = pytest.importorskip("sinabs.layers", exc_type=ImportError)
    activation = pytest.importorskip("sinabs.activation", exc_type=ImportError)

    def squeeze(threshold=2.0, spike_fn="SingleSpike", kind="IAFSqueeze"):
        options = {"batch_size": 1} if kind == "IAFSqueeze" else {}
        spike = getattr(activation, spike_fn)
        return getattr(layers, kind)(spike_threshold=torch.tensor(threshold), spike_fn=spike, **options)

    return squeeze
