"""The digest of a request, for telling a repeated request from another one under the same request id."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message


def message_digest(message: Message) -> str:
    """SHA-256 over the message's type and fields, as hex; equal for equal messages of one schema version."""
    digest = hashlib.sha256(message.DESCRIPTOR.full_name.encode())
    digest.update(message.SerializeToString(deterministic=True))
    return digest.hexdigest()
