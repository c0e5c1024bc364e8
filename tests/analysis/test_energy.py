"""Table 6, Eq. 7, Eq. 8 and the count of every operation, on a network whose every operation is counted by hand.

Image 1 0 / 1 1, T = 3. A padded 3x3 convolution with 2 channels; the first copies the image, the second is silent.
IF neurons of threshold 0.4 spike at every step where the pixel is 1: three neurons, nine spikes. The average pool
returns 0.75 and 0. A linear layer 2 -> 3 of ones with bias 0, and neurons of threshold 1 and leak 0.5: membranes
0.75, 1.125 (spike, 0.125 left), 0.8125, so one spike each. A linear layer 3 -> 2.
"""

from dataclasses import astuple

import pytest
import torch
from torch import nn

import hiresnn
from hiresnn.analysis import PRICES, Energy, EnergyReport, LayerOperations, Prices, count_operations, equivalent_bits
from hiresnn.analysis.energy import DRAM_WORD_PJ, SRAM_WORD_PJ
from hiresnn.errors import UsageError
from hiresnn.network import spiking_graph

FP32, INT32 = PRICES["fp32"], PRICES["int32"]
IMAGE = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).reshape(1, 1, 2, 2)


def tiny(encoding="direct"):
    conv, first, last = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Linear(2, 3), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 1
        first.weight.fill_(1)
        first.bias.zero_()
        last.weight.fill_(1)
    layers = nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), first, nn.ReLU(), last)
    network = spiking_graph(layers, 3, encoding=encoding)
    one, two = network.neurons.values()
    with torch.no_grad():
        one.threshold.fill_(0.4)
        two.leak.fill_(0.5)
    return network


def report(encoding="direct", variants=1):
    measure = Energy(tiny(encoding), variants=variants)
    measure.update(IMAGE.repeat(2, 1, 1, 1))
    return measure.compute()


def test_every_operation_of_every_layer():
    rows = {layer.name: astuple(layer)[1:] for layer in report().layers}
    # kind, inputs, sources, units, dense, connections, zeta, events, MACs, ACs, multiplications, parameters, bytes
    assert rows == {
        # Dense 9 * 4 * 2; each pixel reaches 4 of 2x2 outputs in 2 channels; 3 pixels are not zero.
        "0": ("conv", "image", 4, 8, 72, 32, 1.0, 3.0, 24.0, 0.0, 0.0, 18, 0),
        # 8 neurons * 3 steps, and 9 resets; the leak is 1.
        "1": ("neurons", "current", 8, 8, 0, 0, 0.0, 9.0, 0.0, 33.0, 0.0, 2, 32),
        # 0.75 on one of two inputs at 3 steps, 3 outputs; the bias is added to 3 outputs at 3 steps. zeta = 9 / 8.
        "4": ("linear", "fractional", 2, 3, 6, 6, 1.125, 3.0, 9.0, 9.0, 0.0, 9, 0),
        # 3 neurons * 3 steps, 3 resets, 9 leaks.
        "5": ("neurons", "current", 3, 3, 0, 0, 0.0, 3.0, 0.0, 12.0, 9.0, 2, 12),
        # 3 spikes reach 2 outputs each.
        "6": ("linear", "spikes", 3, 2, 6, 6, 1.0, 3.0, 0.0, 6.0, 0.0, 6, 0),
        "readout": ("readout", "current", 2, 2, 0, 0, 0.0, 0.0, 0.0, 6.0, 0.0, 0, 8),
    }


def test_printed_energy_of_direct_coding_is_equation_8():
    # 72 FLOPs on the image; 6 * 1.125 and 6 * 1 on spikes.
    assert report().snn_printed(FP32) == pytest.approx(72 * 4.6 + 12.75 * 0.9)
    assert report().snn_printed(INT32) == pytest.approx(72 * 3.2 + 12.75 * 0.1)


def test_printed_energy_of_rate_coding_is_equation_7():
    # Pixels of 1 and 0 are not random: 9 input spikes on 4 inputs, zeta = 2.25.
    rate = report("poisson")
    assert rate.snn_printed(FP32) == pytest.approx((72 * 2.25 + 12.75) * 0.9)
    assert rate.layers[0].acs == 9 * 8
    assert rate.layers[0].macs == 0


def test_snn_energy_prices_every_operation():
    # 33 MACs, 66 additions, 9 multiplications.
    assert report().snn(FP32) == pytest.approx(33 * 4.6 + 66 * 0.9 + 9 * 3.7)
    assert report().snn(INT32) == pytest.approx(33 * 3.2 + 66 * 0.1 + 9 * 3.1)


def test_ann_energy_is_one_mac_per_connection():
    assert report().ann_printed(FP32) == pytest.approx((72 + 6 + 6) * 4.6)
    assert report().ann(FP32) == pytest.approx((32 + 6 + 6) * 4.6)


def test_quantised_ann_pays_the_full_price_on_the_image():
    # T = 3 has four levels: 2 bits.
    assert report().bits == 2
    assert report().quantised_ann(FP32) == pytest.approx(32 * 4.6 + 12 * (3.7 / 16 + 0.9))


def test_the_image_side_is_counted_once_per_variant():
    once, thrice = report(), report(variants=3)
    assert thrice.layers[0].macs == 3 * once.layers[0].macs
    assert thrice.layers[0].flops_snn == 3 * once.layers[0].flops_snn
    assert thrice.layers[1:] == once.layers[1:]


def test_parameters_and_state_are_the_sums_of_the_layers():
    assert report().parameters == 18 + 9 + 6 + 4 == sum(p.numel() for p in tiny().parameters())
    assert report().state_bytes == 4 * (8 + 3 + 2)


def test_invalid_options_are_refused():
    with pytest.raises(UsageError, match="variants is 4; an image can change 1 to 3 times"):
        Energy(tiny(), variants=4)
    with pytest.raises(UsageError, match="no images were added; call update"):
        Energy(tiny()).compute()


def test_count_operations_equals_the_accumulator_over_batches():
    assert count_operations(tiny(), IMAGE.repeat(5, 1, 1, 1), batch_size=2) == report()


LAYERS = (
    LayerOperations("a", "conv", "image", 4, 8, 72, 32, 1.0, 3.0, 24.0, 0.0, 0.0, 18, 0),
    LayerOperations("b", "neurons", "current", 8, 8, 0, 0, 0.0, 9.0, 0.0, 33.0, 0.0, 2, 32),
    LayerOperations("c", "linear", "spikes", 8, 2, 16, 16, 1.125, 9.0, 0.0, 18.0, 0.0, 16, 0),
    LayerOperations("d", "readout", "current", 2, 2, 0, 0, 0.0, 0.0, 0.0, 6.0, 0.0, 0, 8),
)


def test_traffic_and_printed_energy_of_known_layers():
    report = EnergyReport(LAYERS, 3)
    traffic = report.snn_traffic()  # weights per operation, events twice, membranes at every step
    assert traffic == (24 + 18, 2 * (3 + 9), 2 * 3 * (8 + 2), 18 + 16)
    assert traffic.on_chip_pj == SRAM_WORD_PJ * (42 + 24 + 60)
    assert traffic.off_chip_pj == traffic.on_chip_pj + DRAM_WORD_PJ * 34
    assert report.ann_traffic() == (32 + 16, 2 * (4 + 8), 0, 34)  # dense activations, no membranes
    # FL_SNN is 72 on the image and 16 * 1.125 on spikes
    assert report.snn_printed(INT32) == pytest.approx(72 * 3.2 + 18 * 0.1)
    assert EnergyReport(LAYERS[1:], 3).snn_printed(FP32) == pytest.approx(18 * 0.9)


def test_counting_leaves_the_images_as_they_are_and_refuses_an_empty_batch():
    class Shifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.out = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.out(torch.relu(self.linear(x.sub_(0.1).flatten(1))))

    images = torch.rand(2, 1, 2, 2)
    network = hiresnn.convert(Shifting(), images.clone(), timesteps=2)
    before = images.clone()
    count_operations(network, images)
    assert torch.equal(images, before)
    with pytest.raises(UsageError, match="the batch has no images"):
        count_operations(network, images[:0])


def test_the_prices_are_those_of_table_7():
    assert PRICES["int32"] == Prices(3.1, 0.1)
    assert PRICES["fp32"] == Prices(3.7, 0.9)
    assert (PRICES["int32"].mac, PRICES["int32"].ac) == (pytest.approx(3.2), 0.1)
    assert (PRICES["fp32"].mac, PRICES["fp32"].ac) == (pytest.approx(4.6), 0.9)


def test_a_quantised_mac_reduces_only_the_price_of_the_multiplication():
    assert PRICES["int32"].quantised_mac(8) == pytest.approx(3.1 / 4 + 0.1)
    assert PRICES["fp32"].quantised_mac(32) == PRICES["fp32"].mac


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (6, 3), (7, 3), (8, 4), (150, 8)])
def test_bits_suffice_for_all_spike_counts_from_0_to_t(timesteps, bits):
    assert equivalent_bits(timesteps) == bits


def test_zero_timesteps_are_refused():
    with pytest.raises(UsageError, match="timesteps is 0"):
        equivalent_bits(0)
