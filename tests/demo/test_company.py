from string import Formatter

import pytest

from evalbench.demo.company import QUARTERS, quarter_bounds
from evalbench.schema import SIGNALS, ModeDefined, ReleaseShipped


def test_every_surface_has_12_to_18_distinct_modes_that_the_ledger_takes(company):
    for surface in company:
        assert 12 <= len(surface.modes) <= 18
        for part in ("mode", "name", "definition", "example"):
            assert len({getattr(mode, part) for mode in surface.modes}) == len(surface.modes)
        for mode in surface.modes:
            fields = {
                name: getattr(mode, name) for name in ModeDefined.model_fields if name in vars(mode)
            }
            ModeDefined(surface=surface.surface, **fields)


def test_releases_move_known_modes_and_lower_their_targets(company):
    for surface in company:
        names = [mode.mode for mode in surface.modes]
        rates = surface.planted_rates()
        assert rates.shape == (len(surface.releases), len(names))
        for number, release in enumerate(surface.releases):
            ReleaseShipped(
                surface=surface.surface,
                release=release.release,
                shipped_at=release.shipped_at,
                targets=tuple(release.targets),
            )
            moved = {names[i] for i in (rates[number] != rates[number - 1]).nonzero()[0]}
            if number:
                assert moved == set(release.rates)
            for target in release.targets:
                column = names.index(target)
                assert rates[number, column] < rates[number - 1, column]


def test_a_release_ships_inside_every_quarter_and_one_before_the_year(company):
    for surface in company:
        shipped = [release.shipped_at for release in surface.releases]
        assert shipped == sorted(shipped)
        assert shipped[0] < quarter_bounds(QUARTERS[0])[0]
        for quarter, moment in zip(QUARTERS, shipped[1:], strict=True):
            start, end = quarter_bounds(quarter)
            assert start < moment < end


@pytest.mark.parametrize(("quarter", "end"), [("2025Q4", "2026-01-01"), ("2026Q1", "2026-04-01")])
def test_a_quarter_ends_where_the_next_begins(quarter, end):
    assert quarter_bounds(quarter)[1].date().isoformat() == end


def test_every_sentence_uses_facts_that_are_there(company):
    for surface in company:
        script = surface.script
        known = set(script["facts"]) | {"email"}
        used = set()
        for text in _texts([script["documents"], script["intents"]]):
            used |= {name for _, name, _, _ in Formatter().parse(text) if name}
        for mode in surface.modes:
            shown = [mode.says, mode.asks, dict(mode.arguments), mode.result]
            for text in _texts(shown):
                used |= {name for _, name, _, _ in Formatter().parse(text) if name}
        assert used <= known
        assert set(script["facts"]) <= used | {"first", "last"}


def test_signals_are_those_of_the_schema_and_documents_exist(company):
    for surface in company:
        assert set(surface.signals) <= set(SIGNALS)
        documents = {document["id"] for document in surface.script["documents"]}
        for mode in surface.modes:
            assert set(mode.documents) <= documents


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
