"""References: what they mean, and that the registry reads them as prompts do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit import prompt_syntax
from lorakit.errors import PromptSyntaxError
from services.registry.domain import BaseModel, Lora, LoraKey, ModelFamily, VersionKey
from services.registry.domain_references import (
    LoraReference,
    ReferenceFault,
    choose_version,
    parse_reference,
    parse_version_name,
)

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
HERO = LoraKey("acme", "hero")
IDS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


def lora(latest: int = 3, **aliases: int) -> Lora:
    return Lora(
        key=HERO, latest_version=latest, aliases=aliases, create_time=MOMENT, update_time=MOMENT, etag="e"
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hero", LoraReference(HERO)),
        ("hero@prod", LoraReference(HERO, "prod")),
        ("hero@12", LoraReference(HERO, "12")),
        ("globex/hero@prod", LoraReference(LoraKey("globex", "hero"), "prod")),
        ("brands/globex/loras/hero", LoraReference(LoraKey("globex", "hero"))),
        ("brands/globex/loras/hero@beta", LoraReference(LoraKey("globex", "hero"), "beta")),
        ("brands/globex/loras/hero/versions/4", LoraReference(LoraKey("globex", "hero"), "4")),
    ],
)
def test_references_are_read(text: str, meant: LoraReference) -> None:
    assert parse_reference(text, "acme") == meant


@pytest.mark.parametrize(
    "text", ["", "Hero", "hero@", "hero@0", "hero@01", "a/b/c", "hero@1\n", " hero", "brands/x/loras/"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ReferenceFault):
        parse_reference(text, "acme")


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9@/-]{1,20}", fullmatch=True))
def test_prompts_and_registry_read_short_references_alike(text: str) -> None:
    try:
        theirs = prompt_syntax.parse_reference(text)
    except PromptSyntaxError:
        theirs = None
    try:
        ours = parse_reference(text, "acme")
    except ReferenceFault:
        assert theirs is None
        return
    if theirs is None:
        # The registry reads full names too, and longer numbers than a prompt may hold.
        assert text.startswith("brands/") or len(ours.which) > 9
        return
    assert ours == LoraReference(
        LoraKey(theirs.brand or "acme", theirs.name), str(theirs.version or theirs.alias or "")
    )


@given(IDS, IDS, st.integers(1, 10**9) | IDS)
def test_version_names_are_read_as_they_are_written(brand: str, name: str, which: int | str) -> None:
    key = VersionKey(LoraKey(brand, name), str(which))
    assert parse_version_name(str(key)) == key
    assert key.number == (which if isinstance(which, int) else None)


def test_a_bare_reference_means_prod_or_the_newest() -> None:
    assert choose_version("", lora()) == 3
    assert choose_version("", lora(prod=2)) == 2
    assert choose_version("latest", lora(prod=2)) == 3
    assert choose_version("beta", lora(beta=1)) == 1
    assert choose_version("2", lora()) == 2


@pytest.mark.parametrize(
    ("which", "latest", "reason"),
    [("", 0, "VERSION_NOT_FOUND"), ("4", 3, "VERSION_NOT_FOUND"), ("beta", 3, "ALIAS_NOT_FOUND")],
)
def test_what_means_nothing_says_why(which: str, latest: int, reason: str) -> None:
    with pytest.raises(ReferenceFault) as refused:
        choose_version(which, lora(latest))
    assert refused.value.reason == reason


def test_names_of_resources() -> None:
    base = BaseModel(
        base_model_id="tiny",
        family=ModelFamily.SD15,
        source="x",
        sha256="b" * 64,
        create_time=MOMENT,
        update_time=MOMENT,
        etag="e",
    )
    assert (base.name, replace(base, base_model_id="b").name) == ("baseModels/tiny", "baseModels/b")
