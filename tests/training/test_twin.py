"""The rate twin against a loop over its layers, and the noise that is crafted on it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert, record
from hiresnn.training import RateTwin, TwinNoise, method

IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8)


def network(start: float = 0.5, timesteps: int = 4) -> SpikingNetwork:
    torch.manual_seed(0)
    ann = build("vgg5", 10, image_size=8, width=1 / 16, hidden=16, dropout=0.3, mean=[0.5] * 3, std=[0.25] * 3)
    return convert(ann, IMAGES, timesteps=timesteps, threshold_scale=0.8, start=start, rescale=True).train()


def by_layers(snn: SpikingNetwork, scales: dict[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and rates of VGG5 written out: conv, pool, conv, conv, pool, linear, linear, linear."""
    weights = {name.removeprefix("layers."): value for name, value in snn.named_parameters()}
    lost = (0.5 - next(iter(snn.neurons.values())).v_init) / snn.timesteps
    rates: dict[str, Tensor] = {}

    def rate(number: int, current: Tensor) -> Tensor:
        name = f"relu{number}"
        rates[name] = (scales[name] * current / weights[f"{name}.threshold"] - lost).clamp(0, 1)
        return rates[name]

    x = F.conv2d((IMAGES - 0.5) / 0.25, weights["conv1.weight"], padding=1)
    x = F.avg_pool2d(rate(1, x), 2)
    x = rate(2, F.conv2d(x, weights["conv2.weight"], padding=1))
    x = F.avg_pool2d(rate(3, F.conv2d(x, weights["conv3.weight"], padding=1)), 2)
    x = rate(4, F.linear(x.flatten(1), weights["linear1.weight"]))
    x = rate(5, F.linear(x, weights["linear2.weight"]))
    return snn.timesteps * F.linear(x, weights["linear3.weight"]), rates


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_the_twin_computes_rates_layer_by_layer(start: float) -> None:
    snn = network(start)
    twin = RateTwin(snn)
    twin.scales = {name: 1 + 0.1 * number for number, name in enumerate(twin.scales)}
    torch.testing.assert_close(twin(IMAGES), by_layers(snn, twin.scales)[0])


def test_the_twin_leaves_out_every_dropout() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.5)]
    snn = convert(nn.Sequential(*layers, nn.Linear(36, 10)), IMAGES, timesteps=4, start=0.5, rescale=True).train()
    twin = RateTwin(snn)
    assert torch.equal(twin(IMAGES), twin(IMAGES))
    trained = twin(IMAGES)
    snn.eval()
    assert torch.equal(twin(IMAGES), trained)


def test_the_twin_of_a_poisson_network_gets_the_mean_of_its_spikes() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 10))
    direct, poisson = (convert(ann, IMAGES, timesteps=4, encoding=kind).eval() for kind in ("direct", "poisson"))
    poisson.load_state_dict(direct.state_dict())
    torch.testing.assert_close(RateTwin(poisson)(IMAGES), RateTwin(direct)(IMAGES))


def test_the_scales_give_the_twin_the_mean_rates_of_the_network() -> None:
    snn = network()
    twin = RateTwin(snn)
    twin.fit(IMAGES)
    with torch.no_grad(), record(snn.eval()) as spikes:
        snn(IMAGES)
    rates = by_layers(snn, twin.scales)[1]
    for name, layer in spikes.items():
        assert rates[name].mean().item() == pytest.approx(layer.mean().item(), rel=0.1)
    assert len(set(twin.scales.values())) == 5


def test_with_many_timesteps_the_noise_of_the_twin_is_worth_that_of_the_network() -> None:
    noise = TwinNoise(16 / 255, start=16 / 255)
    torch.manual_seed(0)
    noise.begin(network(timesteps=64), IMAGES, LABELS)
    gate = noise.report()["gate"]
    assert 0.7 < gate < 1.3
    assert noise.report() == {}  # until it is measured again


def test_the_noise_is_n_fgsm_on_the_twin() -> None:
    snn, noise = network(), TwinNoise(0.1, start=0.05)
    noise.batches, noise.scales = 1, dict.fromkeys(snn.neurons, 1.0)  # between two measurements
    torch.manual_seed(2)
    noise.begin(snn, IMAGES, LABELS)
    torch.manual_seed(2)
    eta = (torch.rand(IMAGES.shape) * 2 - 1) * 0.05
    shown = (IMAGES + eta).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(RateTwin(snn)(shown), LABELS), shown)
    torch.testing.assert_close(noise.apply(IMAGES), (IMAGES + eta + 0.1 * gradient.sign()).clamp(0, 1))
    assert all(parameter.grad is None for parameter in snn.parameters())


def test_measuring_the_gate_changes_no_random_number_of_the_training() -> None:
    snn, found = network(), []
    for batches in (0, 1):
        noise = TwinNoise(0.1, start=0.05)
        noise.batches = batches
        noise.scales = dict.fromkeys(snn.neurons, 1.0)
        torch.manual_seed(3)
        noise.begin(snn, IMAGES, LABELS)
        found.append(torch.rand(3))
        assert snn.training
    assert torch.equal(*found)


def test_the_state_comes_back() -> None:
    noise, again = (method("twin", periods=2, step=0.1).noise for _ in range(2))
    assert isinstance(noise, TwinNoise)
    assert isinstance(again, TwinNoise)
    noise.begin(network(), IMAGES, LABELS)
    again.load_state_dict(noise.state_dict())
    assert again.batches == 1
    assert again.scales == pytest.approx(noise.scales)


def test_an_ann_has_no_rate_twin() -> None:
    with pytest.raises(UsageError, match="needs a spiking network, not Linear"):
        TwinNoise(0.1).begin(nn.Linear(1, 1), IMAGES, LABELS)
