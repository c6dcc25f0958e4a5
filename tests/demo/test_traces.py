import gzip
import re
from collections import Counter

import numpy as np
import pytest

from evalbench.demo.conversation import draw_facts, write_conversation
from evalbench.demo.traces import UNIFORMS, write_traces

SESSION_ID = re.compile(rb'"gen_ai.conversation.id":"([0-9a-f]{16})"')


def _conversation(surface, modes, seed=0):
    uniforms = iter(np.random.default_rng(seed).random(UNIFORMS).tolist())
    intent = surface.script["intents"][seed % len(surface.script["intents"])]["name"]
    facts, started = draw_facts(surface, uniforms), 1_760_000_000_000_000
    return write_conversation(
        surface, intent, modes, facts=facts, started=started, uniforms=uniforms
    )


def test_a_session_has_4_to_15_spans_and_about_8_the_same_every_time(small_year, tmp_path):
    for simulated in small_year:
        path = tmp_path / "traces.jsonl.gz"
        write_traces(simulated, path, rng=np.random.default_rng(1))
        write_traces(simulated, tmp_path / "again.gz", rng=np.random.default_rng(1))
        assert (tmp_path / "again.gz").read_bytes() == path.read_bytes()
        written = gzip.decompress(path.read_bytes())
        spans = Counter(SESSION_ID.search(line)[1] for line in written.splitlines())
        assert len(spans) == simulated.sessions.height
        assert min(spans.values()) >= 4
        assert max(spans.values()) <= 15
        assert 7 < np.mean(list(spans.values())) < 10
        # Personal data is made up.
        assert set(re.findall(rb"[\w.]+@([\w.]+\w)", written)) <= {b"example.com"}
        assert set(re.findall(rb"\(\d{3}\) (\d{3})-(\d{2})", written)) <= {(b"555", b"01")}


def test_every_mode_shows_in_what_the_assistant_says(company):
    for surface in company:
        for number, mode in enumerate(surface.modes):
            turns = _conversation(surface, [mode], seed=number)
            said = " ".join(turn[0].output for turn in turns)
            patterns = [re.sub(r"\\{\w+\\}", ".+", re.escape(says)) for says in mode.says]
            assert any(re.search(pattern, said) for pattern in patterns), mode.mode


def test_a_failed_tool_is_not_recovered_and_a_wrong_argument_is_sent(company):
    for surface in company:
        for mode in surface.modes:
            calls = [step for step in _conversation(surface, [mode])[0] if step.kind == "tool"]
            if mode.tool_error:
                assert [call.error for call in calls] == [mode.tool_error] * mode.tool_repeats
            if mode.arguments:
                healthy = _conversation(surface, [])[0]
                expected = next(step.arguments for step in healthy if step.kind == "tool")
                assert all(
                    calls[0].arguments[name] != expected.get(name) for name in mode.arguments
                )
            if mode.tool:
                assert calls[0].name == mode.tool


@pytest.mark.parametrize("seed", range(20))
def test_steps_follow_each_other_inside_their_turn(company, seed):
    for surface in company:
        end = 0
        for turn in _conversation(surface, surface.modes, seed=seed):
            root, *steps = turn
            assert root.started > end
            end = root.started
            for step in steps:
                assert step.started >= end
                end = step.started + step.duration
            assert end <= root.started + root.duration
            assert steps[-1].output == root.output
