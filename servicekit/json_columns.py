"""Conditions on JSON columns that SQLite and PostgreSQL write differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles


class JsonListHas(ColumnElement[bool]):
    """Whether a JSON array of texts holds one of them: `repeated_field(lambda tag: JsonListHas(Lora.tags,
    tag))`."""

    type = Boolean()
    inherit_cache = False

    def __init__(self, column: Any, value: str) -> None:
        self.column = column
        self.as_text = literal(value)
        self.as_list = literal([value], type_=JSONB())


@compiles(JsonListHas, "sqlite")
def _sqlite(element: JsonListHas, compiler: Any, **kw: Any) -> str:
    column, value = compiler.process(element.column, **kw), compiler.process(element.as_text, **kw)
    return f"EXISTS (SELECT 1 FROM json_each({column}) AS element WHERE element.value = {value})"  # noqa: S608 - both are rendered by the compiler


@compiles(JsonListHas, "postgresql")
def _postgresql(element: JsonListHas, compiler: Any, **kw: Any) -> str:
    return f"({compiler.process(element.column, **kw)} @> {compiler.process(element.as_list, **kw)})"
