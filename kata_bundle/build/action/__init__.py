"""Actions: what is run in a sandbox or by a server, as values with a digest. Pure; must not know where or how they are run."""

from __future__ import annotations

from kata_bundle.build.action.encode import EncodedAction, decode_outputs, encode_action, encode_tree
from kata_bundle.build.action.model import WORK, Action, Platform

__all__ = ["WORK", "Action", "EncodedAction", "Platform", "decode_outputs", "encode_action", "encode_tree"]
