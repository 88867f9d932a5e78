"""Checks every request message against the rules in its .proto (protovalidate)."""

from __future__ import annotations

import grpc
import grpc.aio

from servicekit.interceptors.calls import CallInterceptor
from servicekit.interceptors.requests import CheckedRequests
from servicekit.validation import validate_message


def validation_interceptor() -> grpc.aio.ServerInterceptor:
    """Refuses faulty requests with every faulty field named."""
    return CallInterceptor(CheckedRequests(validate_message))
