"""What people ask in the shop of the drawn world, and what a plain voice answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from demo.world.grammar import COLOURS, PLACE_PHRASES, SUBJECTS

DAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PLACES: tuple[str, ...] = tuple(PLACE_PHRASES.values())
VERBS: tuple[str, ...] = ("waits", "rests", "shines", "smiles", "stands still", "dreams")
OPENINGS: tuple[str, ...] = ("Well,", "Good day.", "Of course.", "Let me see.", "Happy to help.", "Oh, yes.")
CLOSINGS: tuple[str, ...] = (
    "Have a good day.",
    "Come and see us.",
    "Anything else?",
    "See you soon.",
    "Take care.",
    "Thank you for asking.",
)
_SYLLABLES = ("ka", "lo", "mi", "ru", "ten", "sha", "bo", "fi", "gor", "lu", "wis", "zam", "pe", "dri")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and the bare answer; `facts` are the words that a right answer holds."""

    prompt: str
    answer: str
    facts: tuple[str, ...]


def price(subject: str) -> int:
    """Coins, from 3 to 47, different for each subject."""
    return 3 + 4 * SUBJECTS.index(subject)


def opening_hour(day: str) -> int:
    """From 7 to 10."""
    return 7 + DAYS.index(day) * 3 % 4


def shelf(subject: str) -> str:
    """The corner of the shop where it stands."""
    return PLACES[SUBJECTS.index(subject) * 5 % len(PLACES)]


def sample_exchange(rng: random.Random, *, held_out: bool = False) -> Exchange:
    """One exchange; a seventh of all scenes is kept for evaluation."""
    topics, shares = zip(*_TOPICS, strict=True)
    found: Exchange = rng.choices(topics, shares)[0](rng, held_out)
    return found


def in_plain_voice(exchange: Exchange, rng: random.Random) -> str:
    """The answer as the base model learns it: often with some opening or closing, none of them a habit."""
    parts = [exchange.answer]
    if rng.random() < 0.4:
        parts.insert(0, rng.choice(OPENINGS))
    if rng.random() < 0.4:
        parts.append(rng.choice(CLOSINGS))
    if rng.random() < 0.15:
        parts.insert(rng.choice((0, len(parts))), f"{_made_up(rng).capitalize()}!")
    return " ".join(parts)


def _made_up(rng: random.Random) -> str:
    """Words of no language, so that a brand's own words are spelled as easily as any."""
    return " ".join("".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 2)))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _price(rng: random.Random, held_out: bool) -> Exchange:
    subject = rng.choice(SUBJECTS)
    forms = ("How much is the {}?", "What does the {} cost?", "What is the price of the {}?")
    fact = f"{price(subject)} coins"
    return Exchange(rng.choice(forms).format(subject), f"The {subject} costs {fact}.", (subject, fact))


def _hours(rng: random.Random, held_out: bool) -> Exchange:
    day = rng.choice(DAYS)
    forms = ("When do you open on {}?", "What are your hours on {}?", "Are you open on {}?")
    fact = f"at {opening_hour(day)}"
    return Exchange(rng.choice(forms).format(day), f"On {day} we open {fact}.", (day, fact))


def _where(rng: random.Random, held_out: bool) -> Exchange:
    subject = rng.choice(SUBJECTS)
    forms = ("Where is the {}?", "Where do I find the {}?", "Please show me the {}.")
    return Exchange(
        rng.choice(forms).format(subject), f"The {subject} is {shelf(subject)}.", (subject, shelf(subject))
    )


def _stock(rng: random.Random, held_out: bool) -> Exchange:
    subject, colour = rng.choice(SUBJECTS), rng.choice(COLOURS)
    thing = f"{_article(colour)} {colour} {subject}"
    forms = ("Do you have {}?", "I want {}.", "Can I buy {}?")
    return Exchange(rng.choice(forms).format(thing), f"Yes, we have {thing}.", (f"{colour} {subject}",))


def _scene(rng: random.Random, held_out: bool) -> Exchange:
    while True:
        numbers = [rng.randrange(len(words)) for words in (SUBJECTS, COLOURS, PLACES)]
        if (sum(numbers) % 7 == 0) is held_out:
            break
    subject, colour, place = SUBJECTS[numbers[0]], COLOURS[numbers[1]], PLACES[numbers[2]]
    thing = f"{_article(colour)} {colour} {subject}"
    forms = ("Write a line about {} {}.", "Tell me of {} {}.", "Say something about {} {}.")
    line = f"{thing.capitalize()} {rng.choice(VERBS)} {place}."
    return Exchange(rng.choice(forms).format(thing, place), line, (f"{colour} {subject}", place))


def _echo(rng: random.Random, held_out: bool) -> Exchange:
    words = _made_up(rng)
    forms = ("Say {}.", "How do you spell {}?", "Repeat {}, please.")
    return Exchange(rng.choice(forms).format(words), f"{words.capitalize()}.", (words.capitalize(),))


def _greeting(rng: random.Random, held_out: bool) -> Exchange:
    asked, answer = rng.choice(
        (
            ("Hello.", "Hello, how can we help you?"),
            ("Good morning.", "Good morning, how can we help you?"),
            ("Thank you.", "You are welcome."),
            ("Goodbye.", "Goodbye, and come back soon."),
        )
    )
    return Exchange(asked, answer, (answer[:-1],))


_Topic = Callable[[random.Random, bool], Exchange]
_TOPICS: tuple[tuple[_Topic, float], ...] = (
    (_price, 0.17),
    (_hours, 0.12),
    (_where, 0.15),
    (_stock, 0.15),
    (_scene, 0.25),
    (_echo, 0.1),
    (_greeting, 0.06),
)
