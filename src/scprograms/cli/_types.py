"""Types of arguments: numbers within limits."""

from __future__ import annotations

import argparse
from typing import Any


def count(text: str) -> int:
    return number(text, int, 1, "a whole number of at least 1")


def seed(text: str) -> int:
    return number(text, int, 0, "a whole number of at least 0")


def positive(text: str) -> float:
    return number(text, float, 1e-9, "a number above 0")


def not_negative(text: str) -> float:
    return number(text, float, 0, "a number of at least 0")


def percent(text: str) -> float:
    return number(text, float, 0, "a percentage from 0 to 100", at_most=100)


def number(text: str, kind: type, at_least: float, what: str, *, at_most: float = float("inf")) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not at_least <= value <= at_most or value == float("inf"):
        msg = f"{text!r} is not {what}"
        raise argparse.ArgumentTypeError(msg)
    return value
