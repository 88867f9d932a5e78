"""Client channels to other services: retries, keepalive, credentials, request id and deadline passed on."""

from __future__ import annotations

import json
from typing import Any, Final

import grpc
import grpc.aio

from servicekit.deadline import remaining_seconds
from servicekit.identity import AUTHORIZATION
from servicekit.logs import REQUEST_ID_KEY, request_id
from servicekit.server import DEFAULT_MESSAGE_BYTES

# UNAVAILABLE alone is retried: by our rules a call that ends so has changed nothing, or is idempotent by
# request_id.
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "3s",
                "backoffMultiplier": 2.5,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 50, "tokenRatio": 0.5},
}


def open_channel(
    address: str,
    *,
    token: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
) -> grpc.aio.Channel:
    """A channel to `host:port`; plain text unless `credentials` are given. Close it with `await
    channel.close()`.

    Calls made while a call is being served carry its request id, and end by its deadline.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ("grpc.enable_retries", 1),
        # Two minutes by default: too long to notice that a service is back.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Channels of equal arguments share connections otherwise, and a test's server may reuse a port.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    interceptors = [kind(token) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)


class _Outgoing:
    """What is added to every call. grpc takes one kind of call from each interceptor, hence four small
    classes."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def _details(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if self._token and metadata.get(AUTHORIZATION) is None:
            metadata.add(AUTHORIZATION, f"Bearer {self._token}")
        if request_id() and metadata.get(REQUEST_ID_KEY) is None:
            metadata.add(REQUEST_ID_KEY, request_id())
        limits = [limit for limit in (details.timeout, remaining_seconds()) if limit is not None]
        return grpc.aio.ClientCallDetails(
            details.method, min(limits, default=None), metadata, details.credentials, details.wait_for_ready
        )


class _UnaryUnary(_Outgoing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._details(client_call_details), request)


class _UnaryStream(_Outgoing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._details(client_call_details), request)


class _StreamUnary(_Outgoing, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._details(client_call_details), request_iterator)


class _StreamStream(_Outgoing, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(self._details(client_call_details), request_iterator)
