"""What other methods add, against their equations on small cases, and methods that differ from nfgsm in one thing."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.network import convert
from hiresnn.neurons import Window
from hiresnn.training import (
    MembraneDistance,
    MembraneOverlap,
    Presentation,
    consistent,
    method,
    orthogonalise,
    sparse_gradients,
    trades,
    train_batch,
)

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(timesteps=4):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    return convert(ann, IMAGES, timesteps=timesteps, threshold_scale=0.8, start=0.5, rescale=True).train()


def test_orthogonalising_is_the_published_update_of_every_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 2))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    orthogonalise(model)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert torch.equal(parameter, before[name])
            continue
        w = before[name].flatten(1)
        expected = torch.zeros_like(w)
        for i in range(len(w)):
            for j in range(w.shape[1]):
                cubic = sum(w[i, k] * w[m, k] * w[m, j] for k in range(w.shape[1]) for m in range(len(w)))
                expected[i, j] = 1.001 * w[i, j] - 0.001 * cubic
        torch.testing.assert_close(parameter.flatten(1), expected)


def test_the_penalty_of_sparse_gradients_is_the_squared_l1_norm_of_a_smooth_networks_gradient():
    torch.manual_seed(0)
    w = torch.randn(16, 3)

    def model(images, same_draws=False):
        assert same_draws
        return 2 * images.flatten(1) @ w  # T = 2

    logits = model(IMAGES, same_draws=True)
    seen = Presentation(model, IMAGES, IMAGES, LABELS, logits, 2, None)
    norms = torch.stack([w[:, label].abs().sum() for label in LABELS])
    expected = F.cross_entropy(logits / 2, LABELS) + 0.5 * norms.square().mean()
    torch.testing.assert_close(sparse_gradients(seen, strength=0.5), expected, rtol=1e-4, atol=1e-4)


def test_the_loss_of_trades_uses_the_mean_over_time():
    model = network()
    shown = (IMAGES + 0.1).clamp(0, 1)
    loss = trades(Presentation(model, IMAGES, shown, LABELS, model(shown), 4, None), beta=3.0)
    p, q = (model(IMAGES) / 4).softmax(1), (model(shown) / 4).softmax(1)
    expected = -p[range(6), LABELS].log().mean() + 3 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_consistency_pulls_the_mean_logits_of_a_period_to_those_of_the_period_before():
    logits, earlier = torch.randn(6, 3), torch.randn(6, 3)
    first = Presentation(nn.Identity(), IMAGES, IMAGES, LABELS, logits, 2, None)
    torch.testing.assert_close(consistent(first), F.cross_entropy(logits / 2, LABELS))
    pulled = consistent(first._replace(earlier=earlier), pull=0.3) - consistent(first)
    assert pulled.item() == pytest.approx(0.3 * (logits / 2 - earlier).square().mean().item(), rel=1e-4)


def test_free_replays_a_batch_at_full_length_with_noise_that_goes_on():
    model = network()
    made = method("free", periods=3, step=0.02, bound=0.03)
    assert made.steps(4) == 4
    assert made.steps(2) == 2  # more periods than timesteps are no contradiction here
    with pytest.raises(UsageError, match="periods is 0"):
        method("free", periods=0, step=0.02).steps(4)
    results = train_batch(model, torch.optim.SGD(model.parameters(), lr=0.1), IMAGES, LABELS, made)
    assert len(results) == 3
    assert made.noise.kappa.abs().max() == pytest.approx(0.03)  # 0.02 after the first replay


@pytest.mark.parametrize("recomputes", [False, True])
def test_mppd_tv_keeps_the_readouts_membranes_on_both_images_together(recomputes):
    model, noise = network().recompute(recomputes), MembraneDistance(0.1, bound=0.1, strength=0.7, decay=0.9)
    noise.begin(model, IMAGES, LABELS)
    shown = noise.apply(IMAGES)
    logits = model(shown)
    loss = noise.loss(Presentation(lambda images, same_draws: model(images), IMAGES, shown, LABELS, logits, 4, None))
    layers = model.layers
    readouts = [layers(x, Window(4, 6)).detach().view(4, 6, 3) for x in (IMAGES, shown)]
    clean, adversarial = (F.cross_entropy(rows.sum(0) / 4, LABELS) for rows in readouts)
    total = 0.0
    for image in range(6):
        for unit in range(3):
            y = 0.0
            for t in range(4):
                y = 0.9 * y + (readouts[0] - readouts[1])[t, image, unit].item()
                total += abs(y) / (4 * 6 * 3)
    assert total > 0.01
    assert loss.item() == pytest.approx(((clean + adversarial) / 2).item() + 0.7 * total, rel=1e-4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.layers.parameters() if parameter.dim() > 1)
    assert not model.readout._forward_hooks  # so that a later pass leaves no graph in the noise


def test_mpd_sgr_adds_the_share_of_membranes_that_a_normal_distribution_has_in_the_window():
    model, noise = network(), MembraneOverlap(strength=0.7)
    noise.begin(model, IMAGES, LABELS)
    logits = model(IMAGES)
    loss = noise.loss(Presentation(model, IMAGES, IMAGES, LABELS, logits, 4, None))
    (lif,), seen = model.neurons.values(), []
    current = model.layers.get_submodule("1")(IMAGES.flatten(1))
    membrane = 0.5 * lif.threshold
    for _ in range(4):
        u = membrane + current
        seen.append(u / lif.threshold - 1)
        membrane = lif.leak * (u - lif.threshold * (u > lif.threshold))
    z = torch.stack(seen).double()
    mean, deviation = z.mean().item(), z.std().item()
    below = [0.5 * (1 + math.erf((edge - mean) / (deviation * math.sqrt(2)))) for edge in (-1.0, 1.0)]
    expected = below[1] - below[0]
    assert 0.05 < expected < 0.95
    assert loss.item() == pytest.approx(F.cross_entropy(logits / 4, LABELS).item() + 0.7 * expected, rel=1e-4)
    assert not any(lif._forward_hooks for lif in model.neurons.values())


def test_snn_rat_crafts_in_eval_mode():
    modes = []
    model = network()
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    made = method("snn-rat", periods=2, step=0.1)
    made.noise.begin(model, IMAGES, LABELS)
    assert modes == [False]
    assert model.training
    assert made.after is orthogonalise
