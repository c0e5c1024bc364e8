"""Certificates: distances within which the class of an image cannot change, whatever the attack.

`certify_smoothed` for any network under noise (Gaussian in L2, rate coding in L1, events added and deleted), and
`certify_intervals` for converted networks of integrate-and-fire neurons in L-infinity.
"""

from hiresnn.certify.events import Sparse
from hiresnn.certify.intervals import certify_intervals, margins, require_intervals
from hiresnn.certify.smoothing import (
    ABSTAINS,
    Certificate,
    Gaussian,
    RateCoding,
    Smoothing,
    attack_smoothed,
    certify_smoothed,
    lower_bound,
)

__all__ = ["ABSTAINS", "Certificate", "Gaussian", "RateCoding", "Smoothing", "Sparse", "attack_smoothed"]
__all__ += ["certify_intervals", "certify_smoothed", "lower_bound", "margins", "require_intervals"]
