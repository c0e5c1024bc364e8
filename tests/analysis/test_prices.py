"""Table 7, and what a multiplication by few bits costs."""

import pytest

from hiresnn.analysis import PRICES, Prices, equivalent_bits
from hiresnn.errors import UsageError


def test_the_prices_are_those_of_table_7() -> None:
    assert PRICES["int32"] == Prices(3.1, 0.1)
    assert PRICES["fp32"] == Prices(3.7, 0.9)
    assert (PRICES["int32"].mac, PRICES["int32"].ac) == (pytest.approx(3.2), 0.1)
    assert (PRICES["fp32"].mac, PRICES["fp32"].ac) == (pytest.approx(4.6), 0.9)


def test_a_quantised_mac_reduces_only_the_price_of_the_multiplication() -> None:
    assert PRICES["int32"].quantised_mac(8) == pytest.approx(3.1 / 4 + 0.1)
    assert PRICES["fp32"].quantised_mac(32) == PRICES["fp32"].mac


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (6, 3), (7, 3), (8, 4), (150, 8)])
def test_bits_suffice_for_all_spike_counts_from_0_to_t(timesteps: int, bits: int) -> None:
    assert equivalent_bits(timesteps) == bits


def test_zero_timesteps_are_refused() -> None:
    with pytest.raises(UsageError, match="timesteps is 0"):
        equivalent_bits(0)
