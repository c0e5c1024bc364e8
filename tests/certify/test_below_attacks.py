"""No certified radius reaches the nearest image that an attack finds: three networks of the package."""

from pathlib import Path

import pytest
from tests.certify.small import digits

import hiresnn
from hiresnn.certify import Gaussian, attack_smoothed, certify_smoothed

NETWORKS = Path(hiresnn.__file__).parent / "hub" / "networks"


@pytest.mark.parametrize("name", ["digits-traditional", "digits-hire", "robust-digits"])
@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_certified_radii_are_below_the_smallest_successful_perturbation(name, count):
    """Images balanced over the classes; results/certify.md has all 355 with longer searches."""
    images, labels = digits(count)
    network, noise = hiresnn.load(NETWORKS / name), Gaussian(0.25)
    certificate = certify_smoothed(network, images, noise, n=200)
    nearest = attack_smoothed(network, images, labels, noise, n=200, draws=16, step=0.3, steps=10)
    right = certificate.prediction == labels
    assert right.any()
    assert nearest.isfinite().any()
    assert (certificate.radius < nearest)[right].all()
