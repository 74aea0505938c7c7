"""Blobs, trees, action results and layers on the local disk, found by content."""

from kata_bundle.store.records import ActionResult, LayerRecord
from kata_bundle.store.store import Store

__all__ = ["ActionResult", "LayerRecord", "Store"]
