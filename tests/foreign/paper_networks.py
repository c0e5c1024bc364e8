"""Networks in the forms in which papers publish them, written from the equations. `hiresnn audit` gets this file."""

import torch
from torch import nn

T, LEAK, THRESHOLDS = 5, 0.75, (0.375, 0.25)


class ZIF(torch.autograd.Function):
    """A spike at the threshold and above; a triangle of width gama as surrogate."""

    @staticmethod
    def forward(ctx, x, gama):
        ctx.save_for_backward(x)
        ctx.gama = gama
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (ctx.gama - x.abs()).clamp(min=0) / ctx.gama**2, None


class ExpandTemporalDim(nn.Module):
    def __init__(self, T):  # noqa: N803  the name that repositories use
        super().__init__()
        self.T = T

    def forward(self, rows):
        return rows.view(self.T, len(rows) // self.T, *rows.shape[1:])


class MergeTemporalDim(nn.Module):
    def forward(self, rows):
        return rows.flatten(0, 1)


class LIFSpike(nn.Module):
    """The layer of SNN-RAT and its descendants, on [T*B, ...]; without time (T = 0) it is a ReLU."""

    def __init__(self, thresh, T=T, tau=LEAK, gama=1.0):  # noqa: N803
        super().__init__()
        self.T, self.thresh, self.tau, self.gama, self.mode = T, thresh, tau, gama, "bptt"
        self.act, self.relu = ZIF.apply, nn.ReLU()
        self.expand, self.merge = ExpandTemporalDim(T), MergeTemporalDim()

    def forward(self, rows):
        if self.T == 0:
            return self.relu(rows)
        mem, spikes = 0, []
        for now in self.expand(rows):
            mem = self.tau * mem + now
            spikes.append(self.act(mem - self.thresh, self.gama))
            mem = mem * (1 - spikes[-1])
        return self.merge(torch.stack(spikes))


class BatchFirst(nn.Module):
    """The same on [B, T, ...], with a loop over the second dimension."""

    def __init__(self, thresh, tau=LEAK, gama=1.0):
        super().__init__()
        self.thresh, self.tau, self.gama, self.act = thresh, tau, gama, ZIF.apply

    def forward(self, rows):
        mem, spikes = 0, []
        for now in rows.unbind(1):
            mem = self.tau * mem + now
            spikes.append(self.act(mem - self.thresh, self.gama))
            mem = mem * (1 - spikes[-1])
        return torch.stack(spikes, 1)


class Surrogate(nn.Module):
    def forward(self, x):
        return ZIF.apply(x, 1.0)


class MultiStepNode(nn.Module):
    """A node on [T, B, ...] with its surrogate as a module, reset by subtraction."""

    def __init__(self, v_threshold):
        super().__init__()
        self.v_threshold, self.surrogate = v_threshold, Surrogate()

    def forward(self, rows):
        v, spikes = torch.zeros_like(rows[0]), []
        for now in rows:
            v = LEAK * v + now
            spikes.append(self.surrogate(v - self.v_threshold))
            v = v - spikes[-1].detach() * self.v_threshold
        return torch.stack(spikes)


class Stateful(nn.Module):
    """One step per call, with the membranes in an attribute that nothing resets."""

    def __init__(self, threshold, gama=1.0):
        super().__init__()
        self.threshold, self.gama, self.membrane = threshold, gama, None

    def forward(self, current):
        u = current if self.membrane is None else self.membrane + current
        spikes = ZIF.apply(u - self.threshold, self.gama)
        self.membrane = LEAK * (u - self.threshold * spikes)
        return spikes


class Cell(nn.Module):
    """One step per call, with the membranes passed on by the caller."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, current, u):
        u = LEAK * u + current
        spikes = ZIF.apply(u - self.threshold, 1.0)
        return spikes, u * (1 - spikes)


class OverTime(nn.Module):
    """A layer of weights on [T, B, ...] or [B, T, ...]."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, rows):
        return self.layer(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


class Linear(nn.Linear):
    """Takes spikes in float32 also where its weights are float64."""

    def forward(self, rows):
        return super().forward(rows.to(self.weight))


def weights(inputs=16, classes=3):
    generator = torch.Generator().manual_seed(1)
    modules = [nn.Conv2d(1, 4, 3), Linear(inputs, 8), Linear(8, classes)]
    for module in modules:
        for parameter in module.parameters():
            parameter.data = (torch.rand(parameter.shape, generator=generator) - 0.35) / parameter[0].numel() ** 0.5
    return modules


class Network(nn.Module):
    """Images in, [T, B, classes] out; the layers work on [T*B, ...]."""

    def __init__(self, neuron=LIFSpike, modules=None):
        super().__init__()
        self.T, (self.conv, self.fc, self.head) = T, modules or weights()
        self.first, self.second = (neuron(threshold) for threshold in THRESHOLDS)

    def forward(self, images):
        rows = self.first(self.conv(images.repeat(self.T, 1, 1, 1)))
        return self.head(self.second(self.fc(rows.flatten(1)))).unflatten(0, (self.T, -1))


class Mean(Network):
    """The same, with the mean over time inside."""

    def forward(self, images):
        return super().forward(images).mean(0)


class Sequence(Network):
    """[T, B, ...] from layer to layer."""

    def __init__(self, neuron=MultiStepNode, modules=None):
        super().__init__(neuron, modules)
        self.conv = OverTime(self.conv)

    def forward(self, images):
        rows = self.first(self.conv(images.expand(self.T, *images.shape)))
        return self.head(self.second(self.fc(rows.flatten(2))))


class BatchFirstNetwork(Network):
    """[B, T, ...] from layer to layer, [B, T, classes] out."""

    def __init__(self, neuron=BatchFirst, modules=None):
        super().__init__(neuron, modules)
        self.conv = OverTime(self.conv)

    def forward(self, images):
        rows = self.first(self.conv(images[:, None].expand(-1, self.T, *images.shape[1:])))
        return self.head(self.second(self.fc(rows.flatten(2))))


class OneStep(Network):
    """One timestep per call."""

    def __init__(self, neuron=Stateful, modules=None):
        super().__init__(neuron, modules)

    def forward(self, images):
        return self.head(self.second(self.fc(self.first(self.conv(images)).flatten(1))))


class Loop(OneStep):
    """The loop over time in `forward`, which does not reset the neurons."""

    def forward(self, images):
        return torch.stack([super(Loop, self).forward(images) for _ in range(self.T)]).mean(0)


class LoopOfCells(Network):
    """The loop over time in `forward`, with explicit state."""

    def __init__(self, neuron=Cell, modules=None):
        super().__init__(neuron, modules)

    def forward(self, images):
        current = self.conv(images)
        first, second, total = torch.zeros_like(current), torch.zeros(len(images), 8).to(current), 0
        for _ in range(self.T):
            spikes, first = self.first(current, first)
            spikes, second = self.second(self.fc(spikes.flatten(1)), second)
            total = total + self.head(spikes)
        return total / self.T
