"""Sessions of the planted company: who, when, which release, what fails, which signals follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from evalbench.demo.company import QUARTERS, SEVERITY_WEIGHTS, Signal, Surface, quarter_bounds
from evalbench.schema import SIGNALS, TIME

SESSIONS_PER_USER = 4
# Standard deviation, on the log scale, of how prone a user's sessions are to fail.
USER_SPREAD = 0.35


@dataclass(frozen=True)
class Simulated:
    """Sessions of a surface in order of time, with their planted modes and signals."""

    surface: Surface
    sessions: pl.DataFrame

    @cached_property
    def failing(self) -> np.ndarray:
        """Return which modes each session shows, (sessions, modes)."""
        shows = [pl.col("modes").list.contains(m.mode).alias(m.mode) for m in self.surface.modes]
        return self.sessions.select(shows).to_numpy()

    def failing_of(self, session_ids: Sequence[str]) -> np.ndarray:
        """Return which modes these sessions show."""
        order = {session: row for row, session in enumerate(self.sessions["session_id"])}
        return self.failing[[order[session] for session in session_ids]]


def simulate(
    company: Sequence[Surface], *, sessions_per_surface: int, rng: np.random.Generator
) -> list[Simulated]:
    """Draw a year of sessions for every surface; users differ around the planted rates."""
    return [
        _simulate_surface(surface, sessions_per_surface, stream)
        for surface, stream in zip(company, rng.spawn(len(company)), strict=True)
    ]


def _simulate_surface(surface: Surface, sessions: int, rng: np.random.Generator) -> Simulated:
    users = max(1, sessions // SESSIONS_PER_USER)
    activity = rng.gamma(2.0, size=users)
    user = rng.choice(users, size=sessions, p=activity / activity.sum())
    started = _draw_times(sessions, rng=rng)
    shipped = np.array([_moment(release.shipped_at) for release in surface.releases])
    release = np.searchsorted(shipped, started, side="right") - 1
    proneness = np.exp(rng.normal(0, USER_SPREAD, size=users))[user]
    share = np.bincount(release, minlength=len(shipped))
    mean = np.bincount(release, weights=proneness, minlength=len(shipped)) / np.maximum(share, 1)
    chance = surface.planted_rates()[release] * (proneness / mean[release])[:, None]
    failing = rng.random(chance.shape) < chance

    names = np.array([mode.mode for mode in surface.modes])
    weights = np.array([SEVERITY_WEIGHTS[mode.severity] for mode in surface.modes])
    harm = np.where(failing, weights, 0).max(axis=1)
    segments = {
        segment: _choose(shares, users, rng=rng)[user]
        for segment, shares in surface.script["segments"].items()
    }
    intents = {intent["name"]: intent["share"] for intent in surface.script["intents"]}
    frame = pl.DataFrame(
        {
            "surface": [surface.surface] * sessions,
            "session_id": _draw_ids(sessions, rng=rng),
            "user": [f"user-{number:05d}" for number in user],
            "release": np.array([shipped.release for shipped in surface.releases])[release],
            "started_at": pl.Series(started).cast(TIME),
            **segments,
            "intent": _choose(intents, sessions, rng=rng),
            "modes": [names[row].tolist() for row in failing],
        },
        schema_overrides={"modes": pl.List(pl.String)},
    )
    signals = [
        _draw_signal(name, signal, harm, rng=rng) for name, signal in surface.signals.items()
    ]
    return Simulated(surface, frame.with_columns(signals))


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")


def _draw_times(sessions: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draw times over the year, fewer at weekends and at night, sorted."""
    start, end = _moment(quarter_bounds(QUARTERS[0])[0]), _moment(quarter_bounds(QUARTERS[-1])[1])
    days = np.arange(start, end, np.timedelta64(1, "D"))
    weekday = (days.astype("datetime64[D]").astype(int) + 3) % 7
    load = np.where(weekday < 5, 1.0, 0.35)
    day = rng.choice(days, size=sessions, p=load / load.sum())
    second = np.clip(rng.normal(13.5, 3.2, size=sessions), 0, 23.9) * 3600
    return np.sort(day + (second * 1e6).astype("timedelta64[us]"))


def _draw_ids(sessions: int, *, rng: np.random.Generator) -> list[str]:
    return [row.tobytes().hex() for row in rng.integers(256, size=(sessions, 8), dtype=np.uint8)]


def _choose(shares: dict[str, float], size: int, *, rng: np.random.Generator) -> np.ndarray:
    weights = np.array(list(shares.values()))
    return rng.choice(list(shares), size=size, p=weights / weights.sum())


def _draw_signal(
    name: str, signal: Signal, harm: np.ndarray, *, rng: np.random.Generator
) -> pl.Series:
    mean = signal.passing + (signal.failing - signal.passing) * harm
    if name == "thumbs":
        values = np.where(rng.random(harm.size) < mean, 1, -1)
    elif name == "stars":
        values = 1.0 + rng.binomial(4, (mean - 1) / 4)
    elif name == "confidence":
        values = rng.beta(mean * 10, (1 - mean) * 10).round(3)
    elif name == "edited_chars":
        values = rng.exponential(mean).astype(np.int64)
    else:
        values = rng.random(harm.size) < mean
    recorded = pl.Series(rng.random(harm.size) < signal.recorded)
    drawn = pl.Series(name, values, dtype=SIGNALS[name])
    return drawn.to_frame().select(pl.when(recorded).then(pl.col(name))).to_series().alias(name)
