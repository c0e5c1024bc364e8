from typing import NamedTuple

import pytest
import torch
from torch import nn

from hiresnn.attacks import pgd
from hiresnn.errors import UsageError
from hiresnn.foreign import norse
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.surrogate import Linear

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
IMAGES = torch.linspace(0, 1, 5 * 16).view(5, 1, 4, 4)


class Parameters(NamedTuple):
    method: str = "super"


class Count(nn.Module):
    """The interface of norse's cells: state in, state out. Its output is its input, t times at step t from 1."""

    p = Parameters()

    def forward(self, images, state=None):
        state = 1 if state is None else state + 1
        return state * images.flatten(1), state


class SNN(nn.Module):
    """The base of norse's modules that take a sequence [T, B, ...]."""

    p = Parameters()

    def forward(self, steps, state=None):
        return steps.flatten(2).cumsum(0), state


def test_state_is_passed_from_step_to_step_and_starts_at_rest_in_every_call():
    model = norse(Count(), 3)
    for _ in range(2):
        assert torch.allclose(model(IMAGES), 2 * IMAGES.flatten(1))  # (1 + 2 + 3) / 3


def test_sequence_modules_get_all_steps_at_once():
    assert torch.allclose(norse(SNN(), 3)(IMAGES), 2 * IMAGES.flatten(1))  # (1 + 2 + 3) / 3


def test_a_gradient_rule_is_refused():
    model = norse(Count(), 3)
    assert (model.library, model.neurons) == ("norse", 0)
    with pytest.raises(UsageError, match="a norse network cannot use a rule"):
        gradient_rule(model, Linear()).__enter__()


def test_a_network_without_norse_neurons_or_with_both_kinds_is_refused():
    with pytest.raises(UsageError, match="Sequential has no norse neuron"):
        norse(nn.Sequential(nn.ReLU()), 3)
    with pytest.raises(UsageError, match="both cells and modules of sequences"):
        norse(nn.Sequential(Count(), SNN()), 3)


def of_cells(library):
    torch.manual_seed(0)
    fast = library.LIFParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(0.2))
    return library.SequentialState(nn.Flatten(), nn.Linear(16, 12), library.LIFCell(fast), nn.Linear(12, 3))


def test_a_real_network_of_cells_gives_the_mean_of_its_steps():
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    network, state, outputs = of_cells(library), None, []
    for _ in range(4):
        output, state = network(IMAGES, state)
        outputs.append(output)
    assert len({tuple(output[4].tolist()) for output in outputs}) > 1  # spikes at some steps, not at all
    model = norse(network, 4)
    assert torch.allclose(model(IMAGES), torch.stack(outputs).mean(0))
    assert torch.equal(model(IMAGES), model(IMAGES))


def test_a_real_network_of_sequence_modules_agrees_with_its_cells():
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    cells = of_cells(library)
    sequence = library.SequentialState(nn.Flatten(2), cells[1], library.LIF(cells[2].p), cells[3])
    assert torch.allclose(norse(sequence, 4)(IMAGES), norse(cells, 4)(IMAGES), atol=1e-6)


def test_pgd_follows_the_surrogate_of_a_real_network():
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    adversarial = pgd(norse(of_cells(library), 4), IMAGES, torch.zeros(5, dtype=torch.int64))
    assert (adversarial - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)
