"""Spiking networks for other programs: NIR, ONNX, snnTorch, SpikingJelly and sinabs, each compared with the network."""

from hiresnn.exchange.deployed import VIEWS, Rounding, deployed, require_rounding, rounding
from hiresnn.exchange.export import FORMATS, Comparison, Export, compare, export
from hiresnn.exchange.native import from_snntorch, from_spikingjelly
from hiresnn.exchange.nir import DIALECTS, READERS, Reader, from_nir, run_nir, to_nir, write_nir
from hiresnn.exchange.step_graph import StepGraph, StepNode, step_graph

__all__ = [
    "DIALECTS",
    "FORMATS",
    "READERS",
    "VIEWS",
    "Comparison",
    "Export",
    "Reader",
    "Rounding",
    "StepGraph",
    "StepNode",
    "compare",
    "deployed",
    "export",
    "from_nir",
    "from_snntorch",
    "from_spikingjelly",
    "require_rounding",
    "rounding",
    "run_nir",
    "step_graph",
    "to_nir",
    "write_nir",
]
