"""The rate form against the spikes: random networks in double precision, and what has no rate form."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import NotExactError, RateForm, SpikingNetwork, convert
from hiresnn.neurons import gradient_rule

MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def trained(name: str, *, seed: int = 0, size: int = 16, **options: object) -> tuple[nn.Module, Tensor]:
    """A network whose batch norms have seen images, and images."""
    torch.manual_seed(seed)
    ann = build(name, 5, in_channels=1, image_size=size, hidden=16, dropout=0.1, **options)  # type: ignore[arg-type]
    images = torch.rand(12, 1, size, size)
    for _ in range(20):
        ann.train()(images)
    return ann.eval(), images


def exact(ann: nn.Module, images: Tensor, **options: object) -> SpikingNetwork:
    return convert(ann, images, exact=True, **options).double().eval()  # type: ignore[arg-type]


@MANY
@given(
    name=st.sampled_from(["resnet9", "vgg5", "resnet12"]),
    activation=st.sampled_from(["relu", "qcfs"]),
    width=st.sampled_from([0.05, 0.1]),
    timesteps=st.integers(2, 16),
    seed=st.integers(0, 2**16),
    condition=st.sampled_from([">", ">="]),
    rule=st.sampled_from(["own", "arctan", "conversion", "bptr", "assg", "linear(width=2, reset=True)"]),
)
def test_both_forms_give_the_same_logits_and_gradients(
    name: str, activation: str, width: float, timesteps: int, seed: int, condition: str, rule: str
) -> None:
    ann, images = trained(name, seed=seed, width=width, batch_norm=True, activation=activation)
    network, images = exact(ann, images, timesteps=timesteps, condition=condition), images.double()
    rate = RateForm(network)
    torch.testing.assert_close(rate(images), network(images), rtol=1e-5, atol=1e-9)

    def gradient(model: nn.Module) -> Tensor:
        attacked = images.clone().requires_grad_()
        with nullcontext() if rule == "own" else gradient_rule(model, rule):
            return torch.autograd.grad(model(attacked)[:, 1].sum(), attacked)[0]

    torch.testing.assert_close(gradient(rate), gradient(network), rtol=1e-5, atol=1e-9)


def test_an_exact_network_with_learned_thresholds_gives_the_logits_of_its_ann() -> None:
    ann, images = trained("resnet9", width=0.1, batch_norm=True, activation="qcfs", levels=4)
    network = exact(ann, images, timesteps=4)
    torch.testing.assert_close(network(images.double()) / 4, ann.double()(images.double()), rtol=1e-5, atol=1e-9)


def test_an_unquantised_rate_form_is_the_ann_with_clipped_activations() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    images = torch.rand(64, 1, 2, 2, dtype=torch.float64)
    network = exact(ann, images, timesteps=8, percentile=100.0, threshold_scale=1.0)  # so nothing is clipped
    torch.testing.assert_close(RateForm(network, quantised=False)(images) / 8, ann(images), rtol=1e-5, atol=1e-9)


class Length(nn.Module):
    """The Euclidean norm over the channels: proportional to its input, and not affine."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.square().sum(1, keepdim=True).sqrt()


def between_two_layers(*behind: nn.Module) -> nn.Module:
    """A network with `behind` behind its second layer of neurons."""
    torch.manual_seed(1)
    first = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
    network = nn.Sequential(*first, *behind, nn.Flatten(), nn.LazyLinear(3)).eval()
    network(torch.rand(1, 1, 8, 8))
    return network


@pytest.mark.parametrize("max_pool", ["currents", "spikes"])
def test_max_pooling_is_exact_on_both_sides_of_the_neurons(max_pool: str) -> None:
    """A neuron that waits sends its spikes at the first steps, so the largest count is the maximum at every step."""
    images = torch.rand(8, 1, 8, 8)
    network = exact(
        between_two_layers(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.MaxPool2d(2)), images, timesteps=6, max_pool=max_pool
    )
    torch.testing.assert_close(RateForm(network)(images.double()), network(images.double()), rtol=1e-5, atol=1e-9)


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
def test_an_operation_on_spikes_that_is_not_affine_is_refused() -> None:
    with pytest.raises(NotExactError, match="not affine"):
        exact(between_two_layers(Length(), nn.Conv2d(1, 1, 1)), torch.rand(8, 1, 8, 8), timesteps=6)


def test_options_that_contradict_an_exact_conversion_are_refused() -> None:
    ann, images = trained("resnet9", width=0.05, batch_norm=True)
    with pytest.raises(UsageError, match=r"exact=True needs leak = 1\.0, not 0\.9"):
        convert(ann, images, timesteps=2, exact=True, leak=0.9)
    assert convert(ann, images, timesteps=2, exact=True, v_init=0.5, leak=1.0).neuron.wait


def test_a_network_whose_spikes_depend_on_time_has_no_rate_form() -> None:
    ann, images = trained("vgg5", width=0.05)
    for options in ({}, {"wait": True, "leak": 0.9}, {"wait": True, "reset": "zero"}, {"encoding": "poisson"}):
        with pytest.raises(NotExactError):
            RateForm(convert(ann, images, timesteps=4, **options))  # type: ignore[arg-type]


def test_training_the_rate_form_trains_the_network() -> None:
    ann, images = trained("resnet9", width=0.05, batch_norm=True)
    network = convert(ann, images, timesteps=4, exact=True)
    rate = RateForm(network)
    before = network(images).detach()
    optimizer = torch.optim.SGD(rate.parameters(), lr=0.1)
    rate(images).square().mean().backward()
    optimizer.step()
    assert not torch.equal(network(images), before)
    torch.testing.assert_close(rate.double()(images.double()), network(images.double()), rtol=1e-5, atol=1e-9)


def test_the_rate_form_is_compiled_when_its_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = exact(*trained("vgg5", width=0.1))
    rate, seen = RateForm(network), []
    monkeypatch.setattr("hiresnn.network.rate_form.kernel", lambda function, fused: seen.append(fused) or function)
    monkeypatch.setattr(network, "fused", True)
    rate(torch.rand(2, 1, 16, 16).double())
    assert seen
    assert all(seen)
