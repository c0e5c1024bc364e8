"""The audit: the worst-case robust accuracy of any network, images -> logits, with the evidence.

Names load on first use: reading a card (`hiresnn report`) needs neither torch nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.audit.behaviour import InstrumentedModel
    from hiresnn.audit.build_card import About
    from hiresnn.audit.card import Card
    from hiresnn.audit.presets import CURVE, PRESETS, AuditConfig, Preset
    from hiresnn.audit.run import run_audit, verify
    from hiresnn.audit.sweep import AuditResult, Record, audit
    from hiresnn.calls import Bound, parse_bound

__all__ = ["CURVE", "PRESETS", "About", "AuditConfig", "AuditResult", "Bound", "Card", "InstrumentedModel", "Preset"]
__all__ += ["Record", "audit", "parse_bound", "run_audit", "verify"]


def __getattr__(name: str) -> object:
    for module in ("card", "presets", "run") if name in __all__ else ():
        if name in (names := vars(import_module(f"{__name__}.{module}"))):
            return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
