"""The audit: the worst-case robust accuracy of any network, images -> logits, with the evidence.

Names load on first use: reading a card (`hiresnn report`) needs neither torch nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.audit.behaviour import InstrumentedModel
    from hiresnn.audit.bounds import CURVE, Bound, parse_bound
    from hiresnn.audit.card import Card
    from hiresnn.audit.presets import PRESETS, AuditConfig, Preset
    from hiresnn.audit.rules import Record
    from hiresnn.audit.run import run_audit
    from hiresnn.audit.sweep import AuditResult, audit
    from hiresnn.audit.verify import verify

__all__ = [
    "CURVE", "PRESETS", "AuditConfig", "AuditResult", "Bound", "Card", "InstrumentedModel", "Preset", "Record", "audit",
    "parse_bound", "run_audit", "verify",
]  # fmt: skip

_MODULES = {
    **dict.fromkeys(("CURVE", "Bound", "parse_bound"), "bounds"),
    **dict.fromkeys(("PRESETS", "AuditConfig", "Preset"), "presets"),
    **dict.fromkeys(("AuditResult", "audit"), "sweep"),
    **{"Card": "card", "InstrumentedModel": "behaviour", "Record": "rules"},
    **{"run_audit": "run", "verify": "verify"},
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'hiresnn.audit' has no attribute '{name}'")
    value = getattr(import_module(f"hiresnn.audit.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
