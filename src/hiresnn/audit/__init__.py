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
    from hiresnn.audit.screening import Record
    from hiresnn.audit.sweep import AuditResult, audit
    from hiresnn.eps import Bound, parse_bound

__all__ = ["CURVE", "PRESETS", "About", "AuditConfig", "AuditResult", "Bound", "Card", "InstrumentedModel", "Preset"]
__all__ += ["Record", "audit", "parse_bound", "run_audit", "verify"]

_HOMES = dict.fromkeys(("CURVE", "PRESETS", "AuditConfig", "Preset"), "audit.presets")
_HOMES |= {"Bound": "eps", "parse_bound": "eps", "verify": "audit.run", "InstrumentedModel": "audit.behaviour"}
_HOMES |= {"About": "audit.build_card", "Card": "audit.card", "run_audit": "audit.run", "Record": "audit.screening"}
_HOMES |= {"AuditResult": "audit.sweep", "audit": "audit.sweep"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hiresnn.audit' has no attribute '{name}'")
    value = getattr(import_module(f"hiresnn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
