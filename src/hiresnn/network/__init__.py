"""ANN to spiking network: encoding, conversion, the network over time, and recording of its spikes."""

from hiresnn.network.batch_norm import ChannelAffine
from hiresnn.network.calibration import THRESHOLD_SCALE, SilentLayerError, calibrate
from hiresnn.network.convert import CLOSEST, CONVERSIONS, TIMESTEPS, Conversion, convert, spiking_graph
from hiresnn.network.graph import copied, memory_format_of, uncompiled
from hiresnn.network.layers import ENCODINGS, Encoder, Encoding, SharedDropout
from hiresnn.network.rate_form import NotExactError, RateForm
from hiresnn.network.report import ConversionReport, ConversionWarning
from hiresnn.network.self_check import NotRescalableError, analogue
from hiresnn.network.spiking import SpikingNetwork, compiling_pays, record

__all__ = [
    "CLOSEST",
    "CONVERSIONS",
    "ENCODINGS",
    "THRESHOLD_SCALE",
    "TIMESTEPS",
    "ChannelAffine",
    "Conversion",
    "ConversionReport",
    "ConversionWarning",
    "Encoder",
    "Encoding",
    "NotExactError",
    "NotRescalableError",
    "RateForm",
    "SharedDropout",
    "SilentLayerError",
    "SpikingNetwork",
    "analogue",
    "calibrate",
    "compiling_pays",
    "convert",
    "copied",
    "memory_format_of",
    "record",
    "spiking_graph",
    "uncompiled",
]
