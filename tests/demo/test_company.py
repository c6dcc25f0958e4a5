from dataclasses import replace
from difflib import SequenceMatcher
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
            known = ModeDefined.model_fields.keys() & vars(mode).keys()
            ModeDefined(surface=surface.surface, **{name: getattr(mode, name) for name in known})


def test_releases_move_known_modes_and_lower_their_targets(company):
    for surface in company:
        names = [mode.mode for mode in surface.modes]
        rates = surface.planted_rates()
        assert rates.shape == (len(surface.releases), len(names))
        for number, release in enumerate(surface.releases):
            shipped = {name: value for name, value in vars(release).items() if name != "rates"}
            ReleaseShipped(surface=surface.surface, **shipped)
            moved = {names[i] for i in (rates[number] != rates[number - 1]).nonzero()[0]}
            assert number == 0 or moved == set(release.rates)
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


def test_sentences_use_facts_and_documents_that_are_there(company):
    for surface in company:
        script = surface.script
        assert set(surface.signals) <= set(SIGNALS)
        documents = {document["id"] for document in script["documents"]}
        assert documents >= {name for mode in surface.modes for name in mode.documents}
        shown = [(m.says, m.notes, m.asks, dict(m.arguments), m.result) for m in surface.modes]
        used = _facts([script["documents"], script["intents"], shown])
        assert used <= set(script["facts"]) | {"email"}
        assert set(script["facts"]) <= used | {"first", "last"}


def test_notes_of_a_mode_are_many_and_none_is_its_name_definition_or_example(company):
    for surface in company:
        notes = [note.casefold() for mode in surface.modes for note in mode.notes]
        assert len(set(notes)) == len(notes)
        for mode in surface.modes:
            assert len(mode.notes) >= 9
            assert any("{" in note for note in mode.notes)
            given = [mode.name, *mode.definition.split(". "), mode.example]
            for note in mode.notes:
                assert max(_likeness(note, text) for text in given) < 0.7, note


def test_a_mode_without_notes_is_refused(company):
    with pytest.raises(ValueError, match="refund_window_misquoted"):
        replace(company[0].modes[0], notes=[])


def _likeness(one, other):
    """Return the share of equal characters in order: 1 of two texts that are the same."""
    return SequenceMatcher(None, one.casefold(), other.casefold(), autojunk=False).ratio()


def _facts(value):
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return set().union(*map(_facts, parts))
    return {name for _, name, _, _ in Formatter().parse(str(value)) if name}
