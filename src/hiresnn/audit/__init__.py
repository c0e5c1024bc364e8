"""The audit: what the robustness of any network, images -> logits, really is, with the evidence.

The names load on first use: reading a card (`hiresnn report`) needs neither torch nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.audit.assemble import assembled
    from hiresnn.audit.bounds import CURVE, Bound, bound, curve
    from hiresnn.audit.card import Card
    from hiresnn.audit.plan import Findings, Plan
    from hiresnn.audit.presets import IMAGES, PRESETS, waves
    from hiresnn.audit.protocol import Audit
    from hiresnn.audit.scouting import Record
    from hiresnn.audit.subject import Audited

__all__ = [
    "CURVE",
    "IMAGES",
    "PRESETS",
    "Audit",
    "Audited",
    "Bound",
    "Card",
    "Findings",
    "Plan",
    "Record",
    "assembled",
    "bound",
    "curve",
    "waves",
]

_HOMES = {
    "assembled": "assemble",
    **dict.fromkeys(("CURVE", "Bound", "bound", "curve"), "bounds"),
    "Card": "card",
    **dict.fromkeys(("IMAGES", "PRESETS", "waves"), "presets"),
    **dict.fromkeys(("Findings", "Plan"), "plan"),
    "Audit": "protocol",
    "Record": "scouting",
    "Audited": "subject",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hiresnn.audit' has no attribute '{name}'")
    value = getattr(import_module(f"hiresnn.audit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
