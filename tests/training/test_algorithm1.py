"""Algorithm 1 against an independent loop: two spiking layers, plain gradient descent, kappa."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from hiresnn.network import spiking_graph
from hiresnn.training import CraftedNoise, Method, Schedule, Training, train_batch

RATE, STEP, BOUND = 0.05, 0.05, 0.08


class Spike(torch.autograd.Function):
    """Eq. 5, one step: 1 where z > 0, with gradient 0.3 max(0, 1 - |z|)."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * 0.3 * torch.clamp(1 - z.abs(), min=0)


@dataclass
class ByHand:
    """Algorithm 1 for the network of `spiking`, written out step by step without the package."""

    weights: list[Tensor]
    thresholds: list[Tensor]
    leaks: list[Tensor]
    kappa: Tensor
    losses: list[float] = field(default_factory=list)

    def batch(self, images, labels, timesteps, periods, carry):
        rows, rest = len(images), [torch.zeros(()), torch.zeros(())]
        residues, summed = rest, torch.zeros(())
        for _ in range(periods):
            parameters = [p.requires_grad_() for p in (*self.weights, *self.thresholds, *self.leaks)]
            shown = (images + self.kappa[:rows]).clamp(0, 1).requires_grad_()
            residues, summed = (residues, summed) if carry else (rest, torch.zeros(()))
            for _ in range(timesteps // periods):
                layer, left = shown.flatten(1), []
                for weight, threshold, leak, residue in zip(
                    self.weights[:2], self.thresholds, self.leaks, residues, strict=True
                ):
                    membrane = residue + layer @ weight.T
                    layer = Spike.apply(membrane / threshold - 1)
                    left.append(leak * (membrane - threshold * layer.detach()))
                residues, summed = left, summed + layer @ self.weights[2].T
            loss = -summed.log_softmax(1)[range(rows), labels].mean()
            *gradients, to_image = torch.autograd.grad(loss, [*parameters, shown], materialize_grads=True)
            with torch.no_grad():
                parameters = [p - RATE * gradient for p, gradient in zip(parameters, gradients, strict=True)]
                self.weights, self.thresholds = parameters[:3], [p.clamp(min=1e-3) for p in parameters[3:5]]
                self.leaks = [p.clamp(0, 1) for p in parameters[5:]]
                self.kappa[:rows] = (self.kappa[:rows] + STEP * to_image.sign()).clamp(-BOUND, BOUND)
            residues, summed = [residue.detach() for residue in residues], summed.detach()
            self.losses.append(loss.item())


def spiking(timesteps):
    torch.manual_seed(3)
    sizes = [(4, 12), (12, 8), (8, 3)]
    linear = [nn.Linear(inputs, outputs, bias=False) for inputs, outputs in sizes]
    ann = nn.Sequential(nn.Flatten(), linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    network = spiking_graph(ann, timesteps, leak=0.9)
    for lif, threshold in zip(network.neurons.values(), (0.3, 0.2), strict=True):
        nn.init.constant_(lif.threshold, threshold)
    return network


def parameters_of(network):
    neurons = list(network.neurons.values())
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    return weights, [lif.threshold for lif in neurons], [lif.leak for lif in neurons]


@pytest.mark.parametrize("state", ["reset", "carry"])
@pytest.mark.parametrize(("timesteps", "periods"), [(6, 2), (7, 2), (8, 3), (1, 1)])
def test_two_epochs_equal_the_loop_by_hand(state, timesteps, periods):
    network = spiking(timesteps)
    weights, thresholds, leaks = ([p.detach().clone() for p in kind] for kind in parameters_of(network))
    by_hand = ByHand(weights, thresholds, leaks, torch.zeros(4, 1, 2, 2))
    noise = CraftedNoise(STEP, BOUND)
    method = Method(periods, noise, state)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    images, labels = torch.rand(9, 1, 2, 2), torch.randint(3, (9,))
    batches = [(images[start : start + 4], labels[start : start + 4]) for start in (0, 4, 8)]  # the last has one

    losses = []
    for batch in batches * 2:
        losses += [loss for loss, *_ in train_batch(network, optimizer, *batch, method, timesteps=timesteps)]
        by_hand.batch(*batch, timesteps, periods, state == "carry")

    assert len(losses) == 6 * periods
    assert losses == pytest.approx(by_hand.losses, abs=1e-5)
    expected = (by_hand.weights, by_hand.thresholds, by_hand.leaks)
    for ours, theirs in zip(parameters_of(network), expected, strict=True):
        for mine, yours in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine.detach(), yours.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(noise.kappa, by_hand.kappa, atol=1e-6, rtol=0)
    assert by_hand.kappa.abs().max() == pytest.approx(BOUND)


def test_kappa_follows_the_gradient_at_the_weights_before_the_update():
    class Line(nn.Module):
        """Logits (w x, 0): for label 1 the input's gradient has the sign of w, which the update reverses."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.1))

        def forward(self, images):
            return torch.cat([self.weight * images.flatten(1), torch.zeros(len(images), 1)], dim=1)

    line, noise = Line(), CraftedNoise(0.05, 0.05)
    optimizer = torch.optim.SGD(line.parameters(), lr=10.0)
    train_batch(line, optimizer, torch.full((1, 1, 1, 1), 0.5), torch.tensor([1]), Method(1, noise))
    assert line.weight.item() < 0
    assert noise.kappa.item() == pytest.approx(0.05)


@pytest.mark.parametrize("state", ["reset", "carry"])
def test_one_period_without_noise_is_traditional_training_to_the_last_bit(state):
    def trained(method):
        torch.manual_seed(0)
        ann = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 5)),
        )
        network = spiking_graph(ann, 4)
        images, labels = torch.rand(22, 1, 8, 8), torch.randint(5, (22,))
        batches = [(images[start : start + 7], labels[start : start + 7]) for start in (0, 7, 14, 21)]
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        Training(network, optimizer, batches, method, Schedule(2, 1e-2)).run()
        return network.state_dict()

    traditional = trained(Method())
    hire = trained(Method(1, CraftedNoise(0.0, 0.0), state))
    assert traditional.keys() == hire.keys()
    for name, tensor in traditional.items():
        assert torch.equal(tensor, hire[name]), name
    noisy = trained(Method(1, CraftedNoise(0.1, 0.1)))
    assert not all(torch.equal(tensor, noisy[name]) for name, tensor in traditional.items())
