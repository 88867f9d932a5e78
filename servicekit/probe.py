"""Asks a server for its health: `python -m servicekit.probe host:port [service]`, for container health
checks.

Exit code 0 when it is serving, 1 when it is not or does not answer, 2 when the command line is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_SECONDS: Final = 3.0


def probe(address: str, service: str = "") -> str:
    """The serving status in a word (SERVING, NOT_SERVING), or the name of the status code of a call that
    failed."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python -m servicekit.probe host:port [service]\n")
        return 2
    status = probe(*arguments)
    sys.stdout.write(f"{status}\n")
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
