"""What a text from outside may hold."""

from __future__ import annotations

from servicekit.errors import FieldViolation, InvalidArgument


def problem(text: str) -> str | None:
    """What is wrong with the text; None when it can be kept.

    PostgreSQL takes no NUL, and half of a surrogate pair (possible in JSON) has no UTF-8.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "holds characters that are no text"
    return None


def require(**fields: str) -> None:
    """InvalidArgument that names every field whose text cannot be kept."""
    faults = [FieldViolation(field, fault) for field, text in fields.items() if (fault := problem(text))]
    if faults:
        raise InvalidArgument(faults)
