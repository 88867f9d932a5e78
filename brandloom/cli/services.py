"""`brandloom services`."""

from __future__ import annotations

import click
from rich.text import Text

from brandloom import HealthStatus, ServiceHealth
from brandloom.cli import exit_codes
from brandloom.cli.framework import Group
from brandloom.cli.session import Session, pass_session

_STYLES = {HealthStatus.SERVING: "green", HealthStatus.NOT_SERVING: "yellow", HealthStatus.UNREACHABLE: "red"}


@click.group(cls=Group)
def services() -> None:
    """The services themselves."""


@services.command()
@pass_session
def status(session: Session) -> None:
    """Ask each service how it is; exits with 5 unless all serve."""
    health = session.client.health()
    session.show_list(health, ("service", "address", "status", ""), _row)
    if any(service.status is not HealthStatus.SERVING for service in health):
        click.get_current_context().exit(exit_codes.UNAVAILABLE)


def _row(service: ServiceHealth) -> tuple[object, ...]:
    words = Text(service.status.lower().replace("_", " "), style=_STYLES[service.status])
    return service.service, service.address, words, service.detail
