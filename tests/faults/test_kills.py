"""A process killed at any moment: the same command again ends where an undisturbed one ends."""

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from functools import partial

import make
import polars as pl
import pytest
import shop
from forked import start
from judged_sessions import fill_lake, make_judge_specification
from model_server import ModelServer

import evalbench as eb
from evalbench.cli import main
from evalbench.errors import EvaluatorError
from evalbench.evaluate import calibrate
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification, define
from evalbench.label.codebook.acts import read_codebook
from evalbench.llm import Limits
from evalbench.schema import KEYS, TABLES
from evalbench.store.verification import verify

ROUNDS = int(os.environ.get("EVALBENCH_ROUNDS", 1))
OWN_TESTS = {"ingest", "run", "score", "import labels", "promote"}
"""Commands that other tests of this folder kill, or that are one transaction of the ledger.

They are killed here only with more rounds: moments a command, 17 of them in a whole trial.
"""
OWN_TIME = {"judged_at", "run_id", "latency_ms"}
"""What two undisturbed runs do not share either."""
SESSIONS = [f"s{number:03d}" for number in range(400)]
JUDGE = Specification(
    surface="shop", mode="rude", kind="judge", owner="ana", prompt="Is it rude?", model="m"
)


def start_shop(folder):
    """Make what labels, verdicts, reports and evaluators are of."""
    folder.mkdir()
    (folder / "evalbench.toml").write_text('user_key_secret = "tests"\n')
    return shop.fill(folder)


def start_ingest(folder):
    make.workspace(folder)
    lines = []
    for number in range(600):
        score = {"annotations.0.annotation.name": "tone", "annotations.0.annotation.score": 0.1}
        fields = {"session.id": f"session-{number // 4}", "input.value": f"text {number} " * 20}
        span = {"context": {"trace_id": f"trace-{number // 4}", "span_id": f"{number}"}}
        span |= {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}
        fields |= {"openinference.span.kind": "LLM", **(score if number % 5 == 0 else {})}
        lines.append(json.dumps({"name": "step", **span, "attributes": fields}) + "\n")
    (folder / "given").write_text("".join([*lines, "{broken\n", *lines[:7]]))


def start_labels(folder):
    start_shop(folder)
    rows = "".join(f"{name},pass,kind,ben,2026-08-01T00:00:00Z\n" for name in SESSIONS)
    header = "session_id,verdict,note,annotator,labelled_at\n"
    (folder / "given").write_text(f"{header}{rows}nobody,pass,,ben,\n")


def start_verdicts(folder):
    start_shop(folder)
    (folder / "given").write_text("session_id,fails\n" + "".join(f"{s},yes\n" for s in SESSIONS))


def start_score(folder):
    fill_lake(make.workspace(folder), 60)


def start_run(folder):
    start_shop(folder)
    make.notebook(folder / "tiny.ipynb", make.REPORTING)


def start_promote(folder):
    ws = start_shop(folder)
    ws.ledger.extend(map(shop.make_label, SESSIONS), actor="bo")
    define(ws.ledger, JUDGE, modes=read_codebook(ws.ledger).live)
    own = {"evaluator_id": JUDGE.evaluator_id, "evaluator_version": JUDGE.version}
    said = ws.lake.verdicts().collect().with_columns(pl.lit(own[name]).alias(name) for name in own)
    ws.lake.append("verdict", said)
    view = eb.snapshot(folder, surface="shop")
    verdicts = calibrate.current_verdicts(view.every_verdict.collect(), view.specifications)
    truth = view.compare("", fails_when="", tie="")[1]
    pairs = calibrate.pair_verdicts(verdicts, truth, view.sessions, view.specifications)
    settings = view.ws.settings.evaluators
    how = {"by": calibrate.KEY, "settings": settings, **view.measured}
    found = calibrate.measure_alignment(pairs.filter(pl.col("split") != "train"), **how)
    calibrate.record_calibrations(view.ws, found, **view.pins)


def call(*arguments, folder, url):
    """Run a command of the command line."""
    given = [argument.format(folder) for argument in arguments]
    main([*given, "--workspace", str(folder)])


def judge_sessions(folder, url):
    os.environ["HOSTED_VLLM_API_BASE"] = url
    names, limits = [f"s-{number}" for number in range(60)], Limits(concurrency=4)
    score(eb.open(folder), [make_judge_specification()], names, limits=limits)


def promote(folder, url):
    try:
        eb.evaluate.promote(eb.open(folder), JUDGE.evaluator_id)
    except EvaluatorError as error:
        if "counts already" not in str(error):
            raise


VERDICTS = "verdicts import {0}/given --surface shop --evaluator x --mode rude"
COMMANDS = {
    "ingest": (start_ingest, partial(call, *"ingest {0}/given --surface support".split())),
    "import labels": (
        start_labels,
        partial(call, *"labels import {0}/given --surface shop".split()),
    ),
    "import verdicts": (start_verdicts, partial(call, *VERDICTS.split())),
    "score": (start_score, judge_sessions),
    "run": (start_run, partial(call, *"run {0}/tiny.ipynb --reports {0}/reports".split())),
    "promote": (start_promote, promote),
}


def read_state(folder):
    """Give all that a workspace holds, each row, event and page, less the times of its making."""
    ws = eb.open(folder, user="tester")
    state = {}
    for table, schema in TABLES.items():
        rows = ws.lake.scan(table).collect().sort(KEYS[table])
        state[table] = rows.select(*(name for name in schema if name not in OWN_TIME)).rows()
    events = ws.ledger.events().select("actor", "kind", "subject", "body")
    state["events"] = sorted(events.rows())
    for path in sorted((folder / "reports").glob("*/[!.]*/**/*")):
        content = path.read_bytes() if path.is_file() else b""
        content = re.sub(rb'"git_commit": "[^"]*"', b"", content)  # somebody may commit meanwhile
        same, end = path.suffix in (".json", ".csv"), content.rstrip()[-7:]
        state[str(path.relative_to(folder))] = content if same else end
    left = [*(folder / "staged").glob("*"), *(folder / "scoring").glob("*")]
    return {**state, "flaws": verify(folder).flaws, "left": left, "chain": ws.ledger.verify()}


@pytest.fixture(scope="module")
def url():
    start(int).join()  # what is preloaded takes no time of the first command
    with ModelServer(seconds=0.02) as server:
        yield server.url


@pytest.mark.parametrize("name", COMMANDS if ROUNDS > 1 else sorted(COMMANDS.keys() - OWN_TESTS))
def test_a_command_killed_at_any_moment_is_made_good_by_the_same_again(name, url, tmp_path):
    prepare, command = COMMANDS[name]
    chooser, landed = random.Random(name), 0
    prepare(tmp_path / "given")

    def run(folder, seconds=None):
        began = time.monotonic()
        process = start(command, folder=folder, url=url)
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode, time.monotonic() - began

    shutil.copytree(tmp_path / "given", tmp_path / "undisturbed")
    done, took = run(tmp_path / "undisturbed", 120)
    undisturbed = read_state(tmp_path / "undisturbed")
    assert (done, undisturbed["flaws"], undisturbed["left"]) == (0, [], [])
    assert undisturbed != read_state(tmp_path / "given")
    for number in range(ROUNDS + 4):
        if number >= ROUNDS and landed:
            break
        folder = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "given", folder)
        ended, seconds = run(folder, chooser.uniform(0, 0.9) * took)
        landed += ended == -signal.SIGKILL
        took = seconds if ended == 0 else took  # a first run is slower than those after it
        assert run(folder, 120)[0] == 0
        again = read_state(folder)
        assert [each for each in undisturbed if again.get(each) != undisturbed[each]] == []
        assert again.keys() == undisturbed.keys()
        shutil.rmtree(folder)
    sys.stdout.write(f"{name}: {landed} of {ROUNDS} killed within {took:.1f} s, all equal\n")
    assert landed
