"""An ANN made spiking: encoding, conversion, the network in time, and taps on its layers."""

from hiresnn.network.calibration import THRESHOLD_SCALE, calibrate
from hiresnn.network.convert import convert, spiking_graph
from hiresnn.network.dropout import SharedDropout
from hiresnn.network.encoding import ENCODINGS, Encoder, Encoding
from hiresnn.network.record import record
from hiresnn.network.spiking import SpikingNetwork

__all__ = [
    "ENCODINGS",
    "THRESHOLD_SCALE",
    "Encoder",
    "Encoding",
    "SharedDropout",
    "SpikingNetwork",
    "calibrate",
    "convert",
    "record",
    "spiking_graph",
]
