"""How long a page of the server takes to open, what it costs, and how fast sessions are found.

Timed in a real browser on a server that runs: first paint and first session from the moment the
address is opened; memory of the server after ten pages were opened and closed; from the last key of
a question to the list that answers it, among 50,000 sessions.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import psutil
from claims import claim, show
from playwright.sync_api import sync_playwright

from evalbench.observe.sessions import fold_sessions, outline_sessions
from evalbench.report.runbook import find_browser
from evalbench.schema import SPAN
from evalbench.session.copies import copy_texts
from evalbench.store.workspace import Workspace, open_workspace

sys.path.append(str(Path(__file__).parents[1] / "tests" / "browser"))
from annotating import FLAGS, SHOWN, chat, fill, serving_page

LOADS, TURNS, SESSIONS = 10, 50, 50_000
WORDS = "order refund invoice parcel carrier password warranty voucher window delay".split()
QUESTIONS = {
    "filter": ("release=2.3", "n_tool_errors>0 -outcome:yes", "thumbs:none tier=pro", "locale=de"),
    "search": ("case 4777", '"refund invoice"', "warranty release=2.3", "nothing like it"),
    "find the sessions like one": ("alike:s00477", "alike:s00012 release=2.3"),
}
LISTED = ".evalbench-browser[aria-busy=false][data-asked]"


def open_often(page, address) -> tuple[list[float], list[float]]:
    """Open a page and close it, again and again; give seconds to paint and to the first session."""
    paints, sessions = [], []
    for _ in range(LOADS + 1):
        page.goto("about:blank")
        start = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_selector(SHOWN)
        sessions.append(time.perf_counter() - start)
        told = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        paints.append(page.evaluate(told) / 1000)
    page.goto("about:blank")
    return paints[1:], sessions[1:]  # the first one warms the server


def fill_lake(folder: Path, n: int) -> Workspace:
    """Write ``n`` sessions of five turns and a tool call, and copy their texts."""
    ws, rng = open_workspace(folder, user="ana"), np.random.default_rng(7)
    for start in range(0, n, 10_000):
        rows = [row for k in range(start, min(n, start + 10_000)) for row in make_session(k, rng)]
        spans = pl.DataFrame(rows, schema=SPAN)
        ws.lake.append("span", spans)
        ws.lake.append("session", fold_sessions(spans.lazy(), [outline_sessions(spans)]))
    copy_texts(ws.path, "support")
    return ws


def make_session(number: int, rng: np.random.Generator) -> list[dict]:
    """Make the two spans of a session: what was said, and a tool call."""
    texts = [" ".join(rng.choice(WORDS, 40)) for _ in range(6)]
    roles = ("user", "assistant", "user", "assistant", "user", "assistant")
    said = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    said[0]["content"] += f" case {number}"
    said[1]["content"] += "".join(f" w{word % 50_000}" for word in rng.zipf(1.3, 100))
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=7 * number)
    tier, locale = rng.choice(["free", "pro"]), rng.choice(["en", "de", "fr"])
    segments = orjson.dumps({"tier": tier, "locale": locale}).decode()
    about = {"surface": "support", "session_id": f"s{number:05d}", "trace_id": f"t{number}"}
    about |= {"release": f"2.{number % 7}", "segments": segments, "ingest_id": "i"}
    llm = {"kind": "llm", "name": "chat", "span_id": f"a{number}", "started_at": at}
    llm |= {"input_messages": orjson.dumps(said[:-1]).decode(), "status": "ok"}
    llm |= {"output_messages": orjson.dumps(said[-1:]).decode(), "outcome": rng.random() < 0.7}
    llm |= {"thumbs": rng.choice([1, -1, None])}
    tool = {"kind": "tool", "name": "get_order", "span_id": f"b{number}", "tool_name": "get_order"}
    tool |= {"tool_arguments": "{}", "tool_result": "delivered", "started_at": at}
    tool |= {"status": "error" if rng.random() < 0.1 else "ok"}
    return [{**about, **llm}, {**about, **tool}]


def time_question(page, question: str) -> float:
    """Ask, and give the milliseconds until the list answers; the pause for more keys is in it."""
    page.locator(".query").fill("")
    page.wait_for_selector(f"{LISTED}[data-asked='']")
    page.evaluate("window.began = performance.now()")
    page.locator(".query").fill(question)
    return page.evaluate(
        """question => new Promise((done) => {
          const root = document.querySelector(".evalbench-browser");
          const painted = () => requestAnimationFrame(() => done(performance.now() - window.began));
          const look = () => root.dataset.asked === question ? painted() : setTimeout(look, 2);
          look();
        })""",
        question,
    )


def main() -> int:
    if find_browser() is None:
        sys.stderr.write("no Chromium or Chrome on this machine: nothing was measured\n")
        return 1
    holds = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        ws = fill(Path(folder, "a"), [chat(f"s{k:02d}", turns=TURNS) for k in range(5)])
        with serving_page(ws) as (server, address):
            paints, sessions = open_often(page, address)
            process = psutil.Process(server.pid)
            whole = [process, *process.children(recursive=True)]
            memory = sum(each.memory_info().rss for each in whole) / 2**20
        about = f"s from a page's address to its {{}}, slowest of {LOADS}, {TURNS} turns"
        show("the same, median first session", np.median(sessions), "none")
        holds += [
            claim(about.format("first paint"), max(paints), 1, "none"),
            claim(about.format("first session"), max(sessions), 2.5, "none"),
            claim(f"MB of the server after {LOADS} pages, none open", memory, 400, "none"),
        ]
        ws = fill_lake(Path(folder, "b"), SESSIONS)
        with serving_page(ws, "browse") as (_, address):
            page.goto(address)
            page.wait_for_selector(f"{LISTED} li")
            for kind, questions in QUESTIONS.items():
                waits = [time_question(page, each) for each in questions * 3]
                show(f"ms to {kind}, median, {SESSIONS:,} sessions", np.median(waits), "none")
                text = f"ms to {kind}, slowest of {len(waits)}, {SESSIONS:,} sessions"
                holds.append(claim(text, max(waits), 500, "none"))
        browser.close()
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
