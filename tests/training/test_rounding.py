"""Training with rounded weights: one step by hand, and a result that is on the grid."""

import pytest
import torch
from torch import nn

from hiresnn import fit
from hiresnn.errors import RunError
from hiresnn.exchange import deployed, rounding
from hiresnn.network import SpikingNetwork, convert, spiking_graph
from hiresnn.training import METHODS, Average, Method, Schedule, Training, method, rounded, train_batch


def small():
    """Weights 1 and 0.3 into one neuron with threshold 0.6, which enters two classes with 0.5 and -0.2; T = 1."""
    ann = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        ann[1].weight.copy_(torch.tensor([[1.0, 0.3]]))
        ann[3].weight.copy_(torch.tensor([[0.5], [-0.2]]))
    network = spiking_graph(ann, 1)
    network.neurons["2"].threshold.data.fill_(0.6)
    return network


IMAGE, LABEL = torch.full((1, 1, 1, 2), 0.6), torch.tensor([1])


def values(network):
    """The weights, the threshold, and the weights of the readout."""
    first, last = network.layers.get_submodule("1"), network.layers.get_submodule("3")
    return [*first.weight.flatten().tolist(), network.neurons["2"].threshold.item(), *last.weight.flatten().tolist()]


def test_a_step_follows_the_gradient_of_the_rounded_network_from_the_weights_as_they_are():
    network = small()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    (result,) = train_batch(network, optimizer, IMAGE, LABEL, Method(rounding=rounding(network, "int3")), timesteps=1)
    # int3 has the levels -3 to 3. The scale of the first layer is 1/3: weights 1 and 1/3, threshold 2/3. That of the
    # readout is 1/6: weights 1/2 and -1/6.
    # u = 0.6 + 0.2 = 0.8, z = 0.8 / (2/3) - 1 = 0.2: a spike, so the logits are 1/2 and -1/6. The probability of class
    # 0 is 1 / (1 + exp(-2/3)) = 0.660758, so the gradients of the logits and of the readout are 0.660758, -0.660758.
    # d loss / d spike = 0.660758 (1/2 + 1/6) = 0.440506. The surrogate is 0.3 (1 - 0.2) = 0.24.
    # Weights: 0.440506 * 0.24 / (2/3) * 0.6 = 0.0951492. Threshold: -0.440506 * 0.24 * 0.8 / (4/9) = -0.190299.
    assert result.loss == pytest.approx(1.081042, abs=1e-5)  # -log(1 - 0.660758)
    expected = [1 - 0.00951492, 0.3 - 0.00951492, 0.6 + 0.0190299, 0.5 - 0.0660758, -0.2 + 0.0660758]
    assert values(network) == pytest.approx(expected, abs=1e-6)


def test_after_the_block_the_weights_are_there_again_even_if_it_fails():
    network = small()
    before = values(network)

    def one_pass():
        with rounded(network, rounding(network, "int3")):
            assert values(network) == pytest.approx([1, 1 / 3, 2 / 3, 1 / 2, -1 / 6])
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        one_pass()
    assert values(network) == before


@pytest.fixture
def images():
    return torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels(images):
    return (images.flatten(1)[:, :8].sum(1) > images.flatten(1)[:, 8:].sum(1)).long()


def network(images):
    torch.manual_seed(0)
    return convert(nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2)), images, timesteps=4)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"converted", "rate"}))
def test_every_method_ends_with_the_network_that_it_trained(name, images, labels):
    train = (255 * images).byte(), labels  # memory noise needs to know which images a batch shows
    found = fit(network(images), train, method=name, epochs=1, lr=1e-2, rounding="int3", progress=False).network
    again = deployed(found, "int3")
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), again.parameters(), strict=True))
    assert len(found.layers.get_submodule("1").weight.unique()) <= 7


def test_a_network_that_is_tuned_for_two_bits_is_better_than_one_that_is_only_rounded(images, labels):
    options = {"method": "traditional", "epochs": 30, "lr": 1e-2, "progress": False}
    trained = fit(network(images), (images, labels), **options).network
    assert isinstance(trained, SpikingNetwork)
    only = deployed(trained, "int2").eval()
    tuned = fit(trained, (images, labels), (images, labels), rounding="int2", **options)
    with torch.no_grad():
        before = 100 * float((only(images).argmax(1) == labels).float().mean())
    assert tuned.test_accuracy > before + 2


def test_a_tuning_that_is_interrupted_ends_with_the_same_bits(images, labels, tmp_path):
    options = {"method": "hire", "epochs": 3, "lr": 1e-2, "rounding": "int4", "progress": False}
    whole = fit(network(images), (images, labels), **options).network

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(images), (images, labels), checkpoint=tmp_path / "state", log=stop, **options)
    resumed = fit(network(images), (images, labels), checkpoint=tmp_path / "state", **options).network
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(RunError, match="rounding int4, not None"):
        fit(network(images), (images, labels), checkpoint=tmp_path / "state", **{**options, "rounding": None})


def test_an_average_is_of_the_weights_before_rounding_and_is_rounded_itself(images, labels):
    subject = network(images)
    optimizer = torch.optim.SGD(subject.parameters(), lr=0.1)
    average = Average(subject, optimizer, 0.5)
    way = method("traditional", periods=1, step=0.0)
    way.rounding = rounding(subject, "int4")
    Training(subject, optimizer, [(images, labels)], way, Schedule(2, 0.1), average=average).run()
    expected = deployed(average.model, "int4")
    assert not torch.equal(next(expected.parameters()), next(average.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(subject.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("view", ["int2", "int4", "int8", "int8-channel", "shared-scale", "int4+shared-scale"])
def test_rounding_a_second_time_changes_nothing(view):
    for seed in range(20):
        torch.manual_seed(seed)
        ann = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
        once = deployed(convert(ann, torch.rand(8, 1, 4, 4), timesteps=2), view)
        twice = deployed(once, view)
        assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))
