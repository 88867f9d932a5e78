"""What the command's exit status says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from brandloom import errors

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NOT_PERMITTED: Final = 4
UNAVAILABLE: Final = 5
CONFLICT: Final = 6
INTERRUPTED: Final = 130

HELP: Final = """\b
Exit status:
  0    done
  1    the job failed, or the service did, or a file could not be written
  2    wrong usage or an invalid argument
  3    no such resource
  4    not permitted, or no valid token
  5    a service cannot be reached, is too slow or has no room
  6    conflict: it exists already, is in another state or was changed meanwhile
  130  interrupted with Ctrl-C"""

_STATUS_OF_ERROR: Final[Mapping[type[BaseException], int]] = MappingProxyType(
    {
        errors.BrandloomError: FAILED,
        errors.ConfigurationError: USAGE,
        errors.InvalidArgument: USAGE,
        errors.NotFound: NOT_FOUND,
        errors.PermissionDenied: NOT_PERMITTED,
        errors.Unauthenticated: NOT_PERMITTED,
        errors.Unavailable: UNAVAILABLE,
        errors.DeadlineExceeded: UNAVAILABLE,
        errors.ResourceExhausted: UNAVAILABLE,
        errors.AlreadyExists: CONFLICT,
        errors.FailedPrecondition: CONFLICT,
        errors.Aborted: CONFLICT,
    }
)


def exit_status(error: errors.BrandloomError) -> int:
    """The status for an error: that of its nearest class in the table."""
    return next(_STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _STATUS_OF_ERROR)
