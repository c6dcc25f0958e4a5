from dataclasses import replace

from evalbench import runbook
from evalbench.label.queue import Queue, find_queues


def test_what_is_drawn_is_shared_out_to_annotators(own_shop, tmp_path, no_browser):
    parameters = {"surface": "shop", "n": "60", "annotators_per_item": "1.5"}
    runbook.run("02_sample", parameters, workspace=own_shop, reports=tmp_path)

    drawn = find_queues(own_shop.ledger, "shop").row(-1, named=True)
    assert (drawn["items"], drawn["done"]) == (60, 0)
    queue = Queue(replace(own_shop.ledger, actor="ben"), drawn["queue"])
    wanted = queue.state()["wanted"]
    assert set(wanted) == {1, 2}
    assert wanted.sum() == 90
    assert [item.session_id for item in queue.reserve(minutes=30)] == [
        queue.state()["session_id"][0]
    ]
