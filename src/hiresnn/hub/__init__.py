"""Pretrained networks: those of the package, folders that `hiresnn publish` wrote, and the Hugging Face hub.

Names load on first use: listing the networks of the package needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.hub.pretrained import from_pretrained, shipped
    from hiresnn.hub.publish import Publication, upload, write_publication

__all__ = ["Publication", "from_pretrained", "shipped", "upload", "write_publication"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'hiresnn.hub' has no attribute '{name}'")
    module = "pretrained" if name in ("from_pretrained", "shipped") else "publish"
    return getattr(import_module(f"hiresnn.hub.{module}"), name)
