"""The audit: what the robustness of any network, images -> logits, really is, with the evidence."""

from hiresnn.audit.assemble import card
from hiresnn.audit.bounds import CURVE, Bound, bound, curve
from hiresnn.audit.card import Card
from hiresnn.audit.presets import IMAGES, PRESETS, waves
from hiresnn.audit.protocol import Audit, Findings, Plan
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
    "bound",
    "card",
    "curve",
    "waves",
]
