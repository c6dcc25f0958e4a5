"""The simulated company: what is planted, as plain data.

Each surface is a TOML file beside this module: its failure modes with their rates, the releases
that move them, the signals, the tools, documents and sentences its traces are made of.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import numpy as np

from evalbench.schema import FailureClass, Severity

QUARTERS = ("2025Q4", "2026Q1", "2026Q2", "2026Q3")
SURFACES = ("support_copilot", "code_reviewer", "sales_research")
# How strongly a failure of each severity moves the signals.
SEVERITY_WEIGHTS = {"safety": 1.0, "user impact": 1.0, "polish": 0.5}


@dataclass(frozen=True)
class Reader:
    """Whoever says which modes a session shows, a person or a judge; errors are independent."""

    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class Mode:
    """A planted failure mode, how it shows in a trace and what people note of it.

    ``rate`` holds until a release changes it. In the failing turn the assistant says one of
    ``says``; other fields change that turn's question, tool call or documents.
    """

    mode: str
    name: str
    definition: str
    example: str
    severity: Severity
    failure_class: FailureClass
    owner: str
    rate: float
    judge: Reader
    says: list[str]
    notes: list[str]
    asks: str | None = None
    tool: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    result: str | None = None
    documents: list[str] = field(default_factory=list)
    tool_error: str | None = None
    tool_repeats: int = 1

    def __post_init__(self) -> None:
        if not self.notes:
            raise ValueError(f"notes of mode {self.mode!r} must be at least one, got none")


@dataclass(frozen=True)
class Release:
    """A release; ``rates`` are the planted rates that hold from it on."""

    release: str
    shipped_at: datetime
    targets: list[str] = field(default_factory=list)
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Signal:
    """How often a signal is recorded, and its mean in failing and in passing sessions."""

    recorded: float
    failing: float
    passing: float


@dataclass(frozen=True)
class Surface:
    """One product surface of the company."""

    surface: str
    modes: list[Mode]
    releases: list[Release]
    signals: Mapping[str, Signal]
    # What its traces are written from: system, model, facts, documents, intents.
    script: Mapping[str, Any]

    def planted_rates(self) -> np.ndarray:
        """Return the rates of every release (rows) and mode (columns), in their order."""
        current = {mode.mode: mode.rate for mode in self.modes}
        rows = []
        for release in self.releases:
            current |= release.rates
            rows.append([current[mode.mode] for mode in self.modes])
        return np.array(rows)


# The people who label, and how well they read.
ANNOTATORS = {
    "ana": Reader(0.97, 0.998),
    "bruno": Reader(0.93, 0.996),
    "chiara": Reader(0.95, 0.997),
}
ADJUDICATOR = Reader(0.99, 0.999)  # who decides, with the labels at hand, where annotators disagree


def load_company() -> list[Surface]:
    """Read the surfaces of the planted company from the package."""
    return [_load_surface(name) for name in SURFACES]


def _load_surface(name: str) -> Surface:
    script = tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))
    modes = [Mode(**{**mode, "judge": Reader(**mode["judge"])}) for mode in script.pop("modes")]
    return Surface(
        surface=name,
        modes=modes,
        releases=[Release(**release) for release in script.pop("releases")],
        signals={signal: Signal(**values) for signal, values in script.pop("signals").items()},
        script=script,
    )


def quarter_bounds(quarter: str) -> tuple[datetime, datetime]:
    """Return the first moment of a quarter such as ``2026Q3``, and of the next, in UTC."""
    year, number = int(quarter[:4]), int(quarter[5])
    start = datetime(year, 3 * number - 2, 1, tzinfo=UTC)
    following = (year, 3 * number + 1) if number < 4 else (year + 1, 1)
    return start, datetime(*following, 1, tzinfo=UTC)
