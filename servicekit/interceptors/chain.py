"""The order of the interceptors, outermost first."""

from __future__ import annotations

import grpc.aio

from servicekit.identity import Authenticator
from servicekit.interceptors.deadlines import DeadlineInterceptor
from servicekit.interceptors.errors import ErrorInterceptor
from servicekit.interceptors.identity import IdentityInterceptor
from servicekit.interceptors.logs import LogInterceptor
from servicekit.interceptors.metrics import MetricsInterceptor
from servicekit.interceptors.validation import ValidationInterceptor
from servicekit.metrics import ServiceMetrics


def server_interceptors(
    *, authenticator: Authenticator, metrics: ServiceMetrics, unary_limit_seconds: float = 300.0
) -> list[grpc.aio.ServerInterceptor]:
    """Logs and metrics see everything; errors turns into a status what those further in raise; the caller is
    identified before the request is looked at (AIP-211)."""
    return [
        LogInterceptor(),
        MetricsInterceptor(metrics),
        ErrorInterceptor(),
        IdentityInterceptor(authenticator),
        DeadlineInterceptor(unary_limit_seconds=unary_limit_seconds),
        ValidationInterceptor(),
    ]
