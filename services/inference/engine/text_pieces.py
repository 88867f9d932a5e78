"""From tokens to text, piece by piece: whole characters only, and nothing that may belong to a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class StopWords:
    """Finds the first of some texts in a stream, and holds back what may be its beginning."""

    stops: Sequence[str]
    _held: str = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """What may be handed out now, and whether a stop text came; it and what follows are left out."""
        self._held += text
        places = [place for stop in self.stops if (place := self._held.find(stop)) >= 0]
        if places:
            text, self._held = self._held[: min(places)], ""
            return text, True
        kept = max((self._beginning(stop) for stop in self.stops), default=0)
        cut = len(self._held) - kept
        text, self._held = self._held[:cut], self._held[cut:]
        return text, False

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        text, self._held = self._held, ""
        return text

    def _beginning(self, stop: str) -> int:
        """How many characters at the end the stop text begins with."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


@dataclass(slots=True)
class Pieces:
    """One text in the making. Bytes that begin a character wait for its others; where the text ends within
    one, that is left out.
    """

    stop_words: StopWords
    _characters: codecs.IncrementalDecoder = field(default_factory=_decoder)

    def feed(self, data: bytes) -> tuple[str, bool]:
        """The next piece (often empty), and whether a stop text ended the text."""
        return self.stop_words.feed(self._characters.decode(data))

    def rest(self) -> str:
        """The last piece, when the text ends without a stop text."""
        return self.stop_words.rest()
