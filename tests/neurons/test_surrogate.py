import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.neurons import Linear


def test_the_linear_rule_is_a_triangle_over_the_normalised_membrane():
    z = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0])
    # Eq. 5: 0.3 * max(0, 1 - |z|)
    assert Linear()(z).tolist() == pytest.approx([0, 0, 0.15, 0.3, 0.225, 0, 0])
    assert Linear(gamma=1.0, width=2.0)(z).tolist() == pytest.approx([0.25, 0.5, 0.75, 1, 0.875, 0.5, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma is 0.0; it must be above 0"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"width": -1.0}, "width is -1.0; it must be above 0"),
    ],
)
def test_a_linear_rule_without_height_or_width_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Linear(**arguments)
