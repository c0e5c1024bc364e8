"""The audit: the worst-case robust accuracy of any network, images -> logits, with the evidence.

Names load on first use: reading a card (`hiresnn report`) needs neither torch nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.audit.archive import verify as verify
    from hiresnn.audit.behaviour import InstrumentedModel as InstrumentedModel
    from hiresnn.audit.bounds import CURVE as CURVE
    from hiresnn.audit.bounds import Bound as Bound
    from hiresnn.audit.bounds import parse_bound as parse_bound
    from hiresnn.audit.build_card import About as About
    from hiresnn.audit.card import Card as Card
    from hiresnn.audit.presets import PRESETS as PRESETS
    from hiresnn.audit.presets import AuditConfig as AuditConfig
    from hiresnn.audit.presets import Preset as Preset
    from hiresnn.audit.rules import Record as Record
    from hiresnn.audit.run import run_audit as run_audit
    from hiresnn.audit.sweep import AuditResult as AuditResult
    from hiresnn.audit.sweep import audit as audit

_NAMES = {
    "archive": ("verify",),
    "behaviour": ("InstrumentedModel",),
    "bounds": ("CURVE", "Bound", "parse_bound"),
    "build_card": ("About",),
    "card": ("Card",),
    "presets": ("PRESETS", "AuditConfig", "Preset"),
    "rules": ("Record",),
    "run": ("run_audit",),
    "sweep": ("AuditResult", "audit"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'hiresnn.audit' has no attribute '{name}'")
    value = getattr(import_module(f"hiresnn.audit.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
