"""The same inputs and seed give the same bytes, also when the world has moved on since."""

from dataclasses import replace

import orjson
import polars as pl
import pytest
from shop import fill

import evalbench as eb
from evalbench.label.annotation.queue import Queue, find_queues
from evalbench.report import runbook

pytestmark = pytest.mark.usefixtures("no_browser")
PARAMETERS = {"surface": "shop", "quarter": "2026Q3"}


@pytest.fixture
def own_shop(tmp_path):
    return fill(tmp_path / "own")


def made(run):
    files = [run.result, *sorted((run.folder / "tables").iterdir())]
    return {path.name: path.read_bytes() for path in files}


def test_a_report_is_the_same_bytes_again_when_the_world_has_moved_on(own_shop, tmp_path):
    frame = eb.snapshot(own_shop, **PARAMETERS).frame
    first = runbook.run("11_impact", PARAMETERS, workspace=own_shop, reports=tmp_path / "a")
    [published] = own_shop.ledger.bodies("report.published").to_dicts()
    assert (published["notebook"], published["run"]) == ("11_impact", first.folder.name)

    pins = orjson.loads(first.manifest.read_bytes())
    own_shop.ledger.extend(
        [
            ("label.set", name, {"surface": "shop", "session_id": name, "verdict": "unsure"})
            for name in own_shop.lake.sessions().collect()["session_id"]
        ],
        actor="bruno",
    )
    later = own_shop.lake.sessions().collect().head(50)
    own_shop.lake.append(
        "session", later.with_columns(session_id=pl.format("new {}", "session_id"))
    )
    assert not eb.snapshot(own_shop, **PARAMETERS).frame.equals(frame)
    pinned = {**PARAMETERS, **{name: pins[name] for name in ("lake_versions", "ledger_seq")}}
    back = runbook.run("11_impact", pinned, workspace=own_shop, reports=tmp_path / "d")
    assert back.folder.name == first.folder.name
    assert made(back) == made(first)
    assert back.html.read_bytes() == first.html.read_bytes()
    assert back.manifest.read_bytes() == first.manifest.read_bytes()
    assert own_shop.ledger.bodies("report.published").height == 1


def test_a_sample_is_recorded_and_shared_out_unless_it_is_a_dry_run(own_shop, tmp_path):
    parameters = {"surface": "shop", "n": 60, "seed": 5, "annotators_per_item": "1.5"}
    before = own_shop.ledger.bodies("queue.drawn").height
    dry = {**parameters, "dry_run": True}
    told = runbook.run("02_sample", dry, workspace=own_shop, reports=tmp_path)
    assert own_shop.ledger.bodies("queue.drawn").height == before
    done = runbook.run("02_sample", parameters, workspace=own_shop, reports=tmp_path)
    assert made(done) == made(told)
    items = own_shop.ledger.bodies("queue.drawn")["items"].to_list()[-1]
    assert len(items) == 60
    assert {item["session_id"] for item in items} == {
        row["session_id"] for row in orjson.loads(done.result.read_bytes())["items"]
    }

    drawn = find_queues(own_shop.ledger, "shop").row(-1, named=True)
    assert (drawn["items"], drawn["done"]) == (60, 0)
    queue = Queue(replace(own_shop.ledger, actor="ben"), drawn["queue"])
    wanted = queue.state()["wanted"]
    assert set(wanted) == {1, 2}
    assert wanted.sum() == 90
    assert [item.session_id for item in queue.reserve(minutes=30)] == [
        queue.state()["session_id"][0]
    ]
