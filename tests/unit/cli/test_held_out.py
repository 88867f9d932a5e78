"""Which pictures `brandloom train` holds out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from brandloom import Image, Text
from brandloom._convert.fields import from_proto
from brandloom.api.labeler.v1 import resources_pb2
from brandloom.cli.held_out import hold_out, hold_out_texts, more_held_out


def pictures(count: int, split: str = "train") -> list[Image]:
    return [
        from_proto(
            Image,
            resources_pb2.Image(
                name=f"brands/acme/datasets/d/images/{number}",
                artifact={"sha256": hashlib.sha256(str(number).encode()).hexdigest()},
                split=split,
            ),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [(10, 0.1, 1), (10, 0.25, 2), (3, 0.01, 1), (1, 0.5, 0), (2, 0.9, 1), (0, 0.5, 0)],
)
def test_one_at_least_is_held_out_and_one_is_left(count: int, share: float, held: int) -> None:
    assert len(more_held_out(pictures(count), share)) == held


def test_the_choice_depends_on_the_content_alone() -> None:
    shown = pictures(20)
    assert more_held_out(shown, 0.2) == more_held_out(shown[::-1], 0.2)


class FakeDatasets:
    def __init__(self, images: list[Image]) -> None:
        self.held = {image.name: image for image in images}

    def images(self, dataset: str) -> list[Image]:
        return list(self.held.values())

    def update_image(self, image: Image, *, split: str) -> None:
        self.held[image.name] = replace(image, split=split)


class FakeTexts:
    def __init__(self, texts: list[Text]) -> None:
        self.held = {text.name: text for text in texts}

    def list(self, dataset: str) -> list[Text]:
        return list(self.held.values())

    def update(self, text: Text, *, split: str) -> None:
        self.held[text.name] = replace(text, split=split)


class FakeClient:
    def __init__(self, images: list[Image], texts: list[Text] | None = None) -> None:
        self.datasets = FakeDatasets(images)
        self.texts = FakeTexts(texts or [])


def test_what_is_held_out_stays_so_and_fills_up() -> None:
    client = FakeClient([*pictures(10), replace(pictures(11)[10], excluded=True)])
    assert hold_out(client, "d", 0.3) == 3  # type: ignore[arg-type]
    first = {image.name for image in client.datasets.images("d") if image.split == "validation"}
    assert len(first) == 3 and not any(name.endswith("/10") for name in first)
    client.datasets.held |= {image.name: image for image in pictures(20)[10:]}
    assert hold_out(client, "d", 0.3) == 6  # type: ignore[arg-type]
    second = {image.name for image in client.datasets.images("d") if image.split == "validation"}
    assert first < second
    assert hold_out(client, "d", 0.1) == 6  # type: ignore[arg-type]


def test_texts_are_held_out_in_the_same_way() -> None:
    made = [
        from_proto(Text, resources_pb2.Text(name=f"t/{number}", sha256=f"{number * 7 % 10}", split="train"))
        for number in range(10)
    ]
    client = FakeClient([], [*made, replace(made[0], name="t/out", excluded=True)])
    assert hold_out_texts(client, "d", 0.3) == 3  # type: ignore[arg-type]
    held = [text for text in client.texts.list("d") if text.split == "validation"]
    assert sorted(text.sha256 for text in held) == ["0", "1", "2"]
    assert not any(text.excluded for text in held)
