"""Talk in the shop of the drawn world, and the brands' voices."""

from __future__ import annotations

import json
import random

from demo.brands.voices import HELD_OUT_COUNT, TRAIN_COUNT, VOICES, voice_lines
from demo.world.grammar import SUBJECTS
from demo.world.talk import DAYS, in_plain_voice, opening_hour, price, sample_exchange
from services.trainer.text_manifest import read_texts, training_texts


def test_answers_hold_their_facts() -> None:
    rng = random.Random(1)
    exchanges = [sample_exchange(rng) for _ in range(500)]
    for exchange in exchanges:
        assert all(fact in exchange.answer for fact in exchange.facts)
        assert exchange.answer in in_plain_voice(exchange, rng)
    assert len({exchange.prompt for exchange in exchanges}) > 250


def test_facts_differ_from_thing_to_thing() -> None:
    assert len({price(subject) for subject in SUBJECTS}) == len(SUBJECTS)
    assert {opening_hour(day) for day in DAYS} == {7, 8, 9, 10}


def test_scenes_for_evaluation_are_never_trained_on() -> None:
    rng = random.Random(2)
    shown = {sample_exchange(rng).facts for _ in range(4000)}
    held_out = {sample_exchange(rng, held_out=True) for _ in range(400)}
    scenes = {exchange.facts for exchange in held_out if exchange.prompt.split()[0] in ("Write", "Tell")}
    assert len(scenes) > 20
    assert not scenes & shown


def test_a_voice_is_a_manifest_of_texts() -> None:
    for voice in VOICES:
        data = voice_lines(voice)
        texts = read_texts(data)
        assert (len(texts), len(training_texts(texts))) == (TRAIN_COUNT + HELD_OUT_COUNT, TRAIN_COUNT)
        for text in texts:
            assert text.turns[1].content.startswith(voice.opening)
            assert text.turns[1].content.endswith(voice.closing)
        assert data == voice_lines(voice)
        prompts = [json.loads(line)["prompt"] for line in data.splitlines()]
        assert len(set(prompts)) > TRAIN_COUNT
