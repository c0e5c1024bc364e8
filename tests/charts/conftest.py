"""An independent computation of contrast."""

import math
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def contrast() -> Callable[[str, str], float]:
    """WCAG 2 contrast of two "#rrggbb", written independently of the package."""

    def linear(hexadecimal: str) -> float:
        value = int(hexadecimal, 16) / 255
        return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)

    def luminance(colour: str) -> float:
        return 0.2126 * linear(colour[1:3]) + 0.7152 * linear(colour[3:5]) + 0.0722 * linear(colour[5:7])

    def ratio(one: str, other: str) -> float:
        a, b = luminance(one), luminance(other)
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)

    assert abs(ratio("#000000", "#ffffff") - 21) < 1e-9
    # WCAG's examples name this grey as the lightest that passes on white.
    assert 4.5 < ratio("#767676", "#ffffff") < 4.55
    return ratio
