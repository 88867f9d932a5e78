from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Index, create_engine, event, exists, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from servicekit.column_types import JsonColumn, UtcDateTime
from servicekit.database import Database
from servicekit.errors import InvalidArgument
from servicekit.filtering import FieldKind, FilterField, map_field, repeated_field
from servicekit.json_columns import JsonListHas
from servicekit.listing import ListQuery, Page, list_page


class Base(DeclarativeBase):
    pass


class Lora(Base):
    __tablename__ = "loras"
    __table_args__ = (Index("newest", "create_time", "name"),)
    name: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    rank: Mapped[int]
    score: Mapped[float | None]
    public: Mapped[bool] = mapped_column(default=False)
    state: Mapped[int] = mapped_column(default=1)
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)
    tags: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    labels: Mapped[dict[str, str]] = mapped_column(JsonColumn, default=dict)


class Trigger(Base):
    __tablename__ = "triggers"
    lora: Mapped[str] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(primary_key=True)


FIELDS = {
    "name": FilterField(Lora.name, FieldKind.TEXT),
    "title": FilterField(Lora.title, FieldKind.TEXT),
    "rank": FilterField(Lora.rank, FieldKind.INTEGER),
    "score": FilterField(Lora.score, FieldKind.NUMBER),
    "public": FilterField(Lora.public, FieldKind.BOOLEAN),
    "state": FilterField(Lora.state, FieldKind.CHOICE, choices={"ACTIVE": 1, "ARCHIVED": 2}),
    "create_time": FilterField(Lora.create_time, FieldKind.TIME),
    "tags": repeated_field(lambda tag: JsonListHas(Lora.tags, tag)),
    "labels": map_field(lambda key: Lora.labels[key].as_string()),
    "triggers": repeated_field(
        lambda word: exists().where(Trigger.lora == Lora.name, Trigger.word == word),
    ),
}
DAY = datetime(2026, 1, 1, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {
        "name": "a",
        "title": "Neon City",
        "rank": 4,
        "score": 0.5,
        "tags": ["neon", "city"],
        "labels": {"env": "prod"},
    },
    {
        "name": "b",
        "title": "neon 100%",
        "rank": 8,
        "score": None,
        "tags": ["neon"],
        "public": True,
        "state": 2,
    },
    {"name": "c", "title": None, "rank": 8, "score": -1.5, "labels": {"env": "dev", "team": "x y"}},
    {"name": "d", "title": "", "rank": 16, "score": 2.0, "tags": ["it's", 'q"q']},
]


@pytest.fixture(scope="module")
def filled_url(module_database_url: str) -> str:
    """A database with ROWS in it."""
    engine = create_engine(module_database_url.replace("+aiosqlite", ""))
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        for days, row in enumerate(ROWS):
            session.add(Lora(**row, create_time=DAY + timedelta(days=days)))
        session.add(Trigger(lora="c", word="zwx"))
    engine.dispose()
    return module_database_url


@pytest.fixture
async def database(filled_url: str) -> AsyncIterator[Database]:
    """That database; tests leave it as it is."""
    database = Database(filled_url)
    yield database
    await database.dispose()


async def page_of(database: Database, scope: str = "loras", **query: Any) -> Page[Lora]:
    async with database.snapshot() as session:
        return await list_page(
            session,
            select(Lora),
            FIELDS,
            ListQuery(**query),
            scope=(scope,),
            default_order="create_time",
            tie_breaker="name",
            search=("name", "title"),
        )


async def names(database: Database, filter: str) -> str:  # noqa: A002 - as in the request
    return "".join(lora.name for lora in (await page_of(database, filter=filter)).items)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "abcd"),
        ('title = "Neon City"', "a"),
        ('title = "neon city"', ""),
        ("title:neon", "ab"),
        ("title:NEON", "ab"),
        ('title:"100%"', "b"),
        ('title:"%"', "b"),
        ('title:"_"', ""),
        ("title = Neon*", "a"),
        ("title != Neon*", "bcd"),
        ("title:*", "ab"),
        ('title != "Neon City"', "bcd"),
        ("NOT title:neon", "cd"),
        ("-title:neon", "cd"),
        ('NOT title = "Neon City"', "bcd"),
        ("rank = 8", "bc"),
        ("rank > 4 rank < 16", "bc"),
        ("rank >= 8 AND NOT rank = 16", "bc"),
        ("rank:8", "bc"),
        ("score < 0", "c"),
        ("score = 0.5 OR score = 2", "ad"),
        ("NOT score > 0", "bc"),
        ("score:*", "acd"),
        ("score != 0.5", "bcd"),
        ("public = true", "b"),
        ("public != true", "acd"),
        ("state = ARCHIVED", "b"),
        ('create_time > "2026-01-02T12:00:00Z"', "cd"),
        ('create_time <= "2026-01-02T01:00:00+01:00"', "ab"),
        ("create_time = 2026-01-01", "a"),
        ("tags:neon", "ab"),
        ("tags:neon AND NOT tags:city", "b"),
        ('tags:"it\'s"', "d"),
        ("tags:'q\"q'", "d"),
        ("NOT tags:neon", "cd"),
        ("triggers:zwx", "c"),
        ("labels.env = prod", "a"),
        ("labels.env:prod", "a"),
        ("labels.env != prod", "bcd"),
        ("NOT labels.env = prod", "bcd"),
        ("labels:team", "c"),
        ("labels.team:*", "c"),
        ('labels.team = "x y"', "c"),
        ("neon", "ab"),
        ("city OR rank = 16", "ad"),
        ("(tags:neon OR rank = 16) AND score > 1", "d"),
        ("name = \"x' OR '1' = '1\"", ""),
    ],
)
async def test_filters(database: Database, text: str, expected: str) -> None:
    assert await names(database, text) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("owner = me", 1, "there is no field 'owner'"),
        ("rank = many", 8, "expected a whole number"),
        ("rank > 4 AND rank < 1.5", 21, "expected a whole number"),
        ("rank = 99999999999999999999", 8, "64 bits"),
        ("score = x", 9, "expected a number"),
        ("public = yes", 10, "expected true or false"),
        ("public > true", 1, "has no order"),
        ("state = GONE", 9, "expected one of ACTIVE, ARCHIVED"),
        ("state < ACTIVE", 1, "has no order"),
        ("create_time > yesterday", 15, "expected a time like"),
        ('create_time > "0001-01-01T00:00:00+23:59"', 15, "expected a time like"),
        ("tags = neon", 1, "tags:value"),
        ("tags.x:neon", 1, "has no fields of its own"),
        ("title.x = 1", 1, "has no fields of its own"),
        ("labels = x", 1, "is a map"),
    ],
)
async def test_faulty_filters(database: Database, text: str, position: int, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await names(database, text)
    violation = caught.value.violations[0]
    assert violation.field == "filter"
    assert violation.description.startswith(f"at character {position}: ")
    assert words in violation.description


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("", "abcd"),
        ("create_time desc", "dcba"),
        ("rank", "abcd"),
        ("rank desc", "dcba"),
        ("rank desc, name", "dbca"),
        (" rank   asc ,create_time desc ", "acbd"),
        ("public desc, rank desc, name asc", "bdca"),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 3, 4])
async def test_pages_follow_one_another_in_any_order(
    database: Database, order_by: str, expected: str, page_size: int
) -> None:
    seen, token, pages = "", "", 0
    while pages == 0 or token:
        page = await page_of(database, order_by=order_by, page_size=page_size, page_token=token)
        assert len(page.items) <= page_size
        seen += "".join(lora.name for lora in page.items)
        token, pages = page.next_page_token, pages + 1
    assert seen == expected
    assert pages == -(-4 // page_size)


@pytest.mark.parametrize(
    "order_by", ["owner", "tags", "labels", "rank up", "rank,", "rank, rank desc", "rank;", ","]
)
async def test_faulty_orders(database: Database, order_by: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await page_of(database, order_by=order_by)
    assert caught.value.violations[0].field == "order_by"


async def test_a_row_that_appears_between_two_pages_shifts_nothing(database: Database) -> None:
    first = await page_of(database, page_size=2)
    async with database.transaction() as session:
        session.add(Lora(name="0", rank=1, create_time=DAY - timedelta(days=1)))
    second = await page_of(database, page_size=2, page_token=first.next_page_token)
    async with database.transaction() as session:
        await session.delete(await session.get_one(Lora, "0"))
    assert [lora.name for lora in second.items] == ["c", "d"]


async def test_a_token_is_good_for_its_query_alone(database: Database) -> None:
    token = (await page_of(database, page_size=1)).next_page_token
    assert (await page_of(database, page_size=3, page_token=token)).items[0].name == "b"
    for change in ({"filter": "rank > 1"}, {"order_by": "rank"}, {"scope": "other"}):
        with pytest.raises(InvalidArgument, match="page_token"):
            await page_of(database, page_token=token, **change)


async def test_a_page_begins_at_an_index(database: Database) -> None:
    """Deep pages stay quick: nothing is counted up to them."""
    if database.url.get_backend_name() != "sqlite":
        pytest.skip("with four rows PostgreSQL reads the table, and is right")
    token = (await page_of(database, order_by="create_time desc", page_size=1)).next_page_token
    sent: list[tuple[str, Any]] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, *_: sent.append((statement, parameters)),
    )
    await page_of(database, order_by="create_time desc", page_size=1, page_token=token)
    statement, parameters = sent[-1]
    async with database.engine.connect() as connection:
        plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
    assert [row[3] for row in plan] == ["SEARCH loras USING INDEX newest ((create_time,name)<(?,?))"]
