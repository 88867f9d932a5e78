"""The order of the interceptors, outermost first."""

from __future__ import annotations

from collections.abc import Set

import grpc.aio

from servicekit.identity import Authenticator
from servicekit.interceptors.authorisation import administrator_interceptor, brand_interceptor
from servicekit.interceptors.deadlines import deadline_interceptor
from servicekit.interceptors.errors import error_interceptor
from servicekit.interceptors.identity import identity_interceptor
from servicekit.interceptors.logs import log_interceptor
from servicekit.interceptors.metrics import metrics_interceptor
from servicekit.interceptors.validation import validation_interceptor
from servicekit.metrics import ServiceMetrics


def server_interceptors(
    *,
    authenticator: Authenticator,
    metrics: ServiceMetrics,
    administrators_only: Set[str] = frozenset(),
    unary_limit_seconds: float = 300.0,
) -> list[grpc.aio.ServerInterceptor]:
    """Logs and metrics see everything; errors turns into a status what those further in raise; the caller is
    identified, and refused if need be, before the request is validated (AIP-211).

    `administrators_only`: methods, as `/package.Service/Method`.
    """
    return [
        log_interceptor(),
        metrics_interceptor(metrics),
        error_interceptor(),
        identity_interceptor(authenticator),
        deadline_interceptor(unary_limit_seconds=unary_limit_seconds),
        administrator_interceptor(administrators_only),
        brand_interceptor(),
        validation_interceptor(),
    ]
