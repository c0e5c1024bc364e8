"""Pretrained networks: those of the package, folders that `hiresnn publish` wrote, and the Hugging Face hub."""

from hiresnn.hub.pretrained import Publication, from_pretrained, shipped, upload, write_publication

__all__ = ["Publication", "from_pretrained", "shipped", "upload", "write_publication"]
