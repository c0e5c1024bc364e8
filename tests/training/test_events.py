"""Training on event grids: what a period sees, and its noise."""

import torch
from torch import Tensor

import hiresnn
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert
from hiresnn.training import CraftedNoise, Method, Noise, train_batch
from hiresnn.training.methods import METHODS

LABELS = torch.arange(6) % 3


def grids() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(6, 6, 2, 8, 8, generator=generator) < 0.15).float()


def network() -> SpikingNetwork:
    torch.manual_seed(0)
    ann = build("vgg5", 3, in_channels=2, image_size=8, width=0.1, hidden=16, dropout=0.0, events=True)
    return convert(ann, grids(), timesteps=6, rescale=True, v_init=0.5, threshold_scale=0.7)


class Watched(Noise):
    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def apply(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return images.clone()


def trained(method: Method) -> SpikingNetwork:
    model = network()
    train_batch(model, torch.optim.SGD(model.parameters(), lr=0.1), grids(), LABELS, method)
    return model


def test_the_periods_see_the_recording_once_and_in_order():
    for periods, bins in ((1, 6), (2, 3), (3, 2), (4, 1)):
        noise = Watched()
        trained(Method(periods=periods, noise=noise))
        assert [part.shape[1] for part in noise.seen] == [bins] * periods
        assert torch.equal(torch.cat(noise.seen, 1), grids()[:, : periods * bins])


def test_a_replayed_batch_is_seen_as_a_whole():
    noise = Watched()
    trained(Method(periods=2, noise=noise, replay=True))
    assert all(torch.equal(part, grids()) for part in noise.seen)


def test_one_period_without_noise_is_traditional_training_bit_for_bit():
    hire, traditional = trained(Method(periods=1, noise=CraftedNoise(0.0, 0.0))), trained(Method())
    for parameter, expected in zip(hire.parameters(), traditional.parameters(), strict=True):
        assert torch.equal(parameter, expected)


def test_the_noise_of_a_period_comes_from_the_gradient_of_the_same_bin_of_the_period_before():
    """Without updates of the weights: kappa after period 1 is 0.1 sign(gradient), and period 2 sees it, clipped."""
    model, noise, seen = network(), CraftedNoise(0.1, 0.1), []
    frozen = torch.optim.SGD(model.parameters(), lr=1e-30)
    apply = noise.apply
    noise.apply = lambda images: seen.append(apply(images)) or seen[-1].clone()  # type: ignore[method-assign]
    train_batch(model, frozen, grids(), LABELS, Method(periods=2, noise=noise))
    first = grids()[:, :3].requires_grad_()
    loss = torch.nn.functional.cross_entropy(network().train()(first, timesteps=3), LABELS)
    (gradient,) = torch.autograd.grad(loss, first)
    assert torch.equal(seen[0], grids()[:, :3])
    torch.testing.assert_close(seen[1], (grids()[:, 3:] + 0.1 * gradient.sign()).clamp(0, 1))


def test_with_carried_state_two_periods_see_what_one_window_sees():
    """At a learning rate of 0 the loss of the last period is that of all bins at once."""
    model = network()
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    results = train_batch(model, idle, grids(), LABELS, Method(periods=2, state="carry"))
    whole = torch.nn.functional.cross_entropy(network().train()(grids()), LABELS)
    assert abs(results[-1].loss - whole.item()) < 1e-5


def test_every_method_trains_on_event_grids():
    for name in sorted({*METHODS} - {"converted", "rate"}):
        result = hiresnn.fit(network(), (grids(), LABELS), method=name, epochs=1, noise_step=0.1, progress=False)
        assert result.rows[0]["loss"] < 10, name
