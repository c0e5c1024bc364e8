"""Words moved for one image, counted by hand on two layers and one layer of neurons."""

from hiresnn.analysis import LayerOperations, ann_traffic, snn_traffic
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ

LAYERS = (
    LayerOperations("a", "conv", "image", 4, 8, 72, 32, 1.0, 3.0, 24.0, 0.0, 0.0, 18, 0),
    LayerOperations("b", "neurons", "current", 8, 8, 0, 0, 0.0, 9.0, 0.0, 33.0, 0.0, 2, 32),
    LayerOperations("c", "linear", "spikes", 8, 2, 16, 16, 1.125, 9.0, 0.0, 18.0, 0.0, 16, 0),
    LayerOperations("d", "readout", "current", 2, 2, 0, 0, 0.0, 0.0, 0.0, 6.0, 0.0, 0, 8),
)


def test_a_spiking_network_moves_weights_by_operation_events_twice_and_membranes_at_every_step() -> None:
    traffic = snn_traffic(LAYERS, timesteps=3)
    assert traffic.weight_reads == 24 + 18
    assert traffic.activations == 2 * (3 + 9)
    assert traffic.membranes == 2 * 3 * (8 + 2)
    assert traffic.weights == 18 + 16


def test_an_ann_moves_dense_activations_and_no_membranes() -> None:
    assert ann_traffic(LAYERS) == (32 + 16, 2 * (4 + 8), 0, 34)


def test_weights_off_chip_are_fetched_once_on_top() -> None:
    traffic = snn_traffic(LAYERS, timesteps=3)
    assert traffic.on_chip_pj == SRAM_WORD_PJ * (42 + 24 + 60)
    assert traffic.off_chip_pj == traffic.on_chip_pj + DRAM_WORD_PJ * 34
