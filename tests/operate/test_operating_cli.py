"""Issues, metrics, targets, releases and decisions by the command line."""

import json

import pytest
from shop import fill

import evalbench as eb
from evalbench.cli import main
from evalbench.operate.scorecard import METRICS


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("shop") / "ws")


@pytest.fixture
def run(shop, capsys, monkeypatch):
    monkeypatch.setenv("EVALBENCH_WORKSPACE", str(shop.path))

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        return stop.value.code, out.strip().splitlines(), err

    return call


def test_an_issue_is_opened_moved_listed_and_exported(run, shop):
    failing = eb.snapshot(shop).truth.filter("fails")["session_id"][0]
    opened = ("issues", "open", "--surface", "shop")
    assert "--title, or a --mode" in run(*opened)[2]
    assert "there are rude" in run(*opened, "--mode", "cold")[2]
    assert run(*opened, "--mode", "rude", "--session", failing)[:2] == (0, ["shop-1"])
    asked = ("--title", "Leaks", "--severity", "safety", "--owner", "eva", "--at", "2026-07-02")
    assert "has no session 'gone'" in run(*opened, *asked, "--session", "gone")[2]
    other = ("issues", "open", "--surface", "shpo", *asked)
    assert "no surface is called 'shpo'" in run(*other)[2]
    assert run(*opened, *asked, "--source", "red team")[1] == ["shop-2"]
    assert "next it may be" in run("issues", "move", "shop-2", "verified")[2]
    assert "--reason" in run("issues", "move", "shop-2", "wont-fix")[2]
    assert "should be 'observed', 'confirmed'" in run("issues", "move", "shop-2", "done")[2]
    assert "no issue is called 'x'" in run("issues", "move", "x", "confirmed")[2]
    assert run("issues", "move", "shop-1", "fix-shipped", "--release", "10")[0] == 0
    hostile = ("--title", "Leaks\n\x1b[31mshop-9: safety", *asked[2:])
    assert run(*opened, *hostile)[1] == ["shop-3"]
    assert [line[:6] for line in run("issues", "list")[1]] == ["shop-2", "shop-3", "shop-1"]
    assert (
        "shop-3: safety; observed; owner eva; Leaks ⟦U+001B⟧[31mshop-9"
        in run("issues", "list")[1][1]
    )
    assert run("issues", "move", "shop-3", "wont-fix", "--reason", "test")[0] == 0
    assert "release 10: cannot tell" in run("issues", "move", "shop-1", "verified")[2]
    listed = run("issues", "list")[1]
    assert (
        listed[0] == "shop-2: safety; observed; owner eva; Leaks; next: confirm it on its sessions"
    )
    assert listed[1].startswith("shop-1: user impact; fix shipped; owner ana; Is rude")
    [first, second, _] = json.loads("\n".join(run("issues", "export")[1]))
    assert first["labels"] == ["evalbench", "safety", "red team", "observed"]
    assert "Release with the fix: 10" in second["body"].splitlines()
    [jira, *_] = json.loads(
        "\n".join(run("issues", "export", "--as", "jira", "--project", "Q")[1])
    )["issueUpdates"]
    assert jira["fields"]["project"] == {"key": "Q"}
    assert "red-team" in jira["fields"]["labels"]
    assert "--project" in run("issues", "export", "--as", "jira")[2]


def test_what_owners_say_is_recorded_and_the_scorecard_shows_it(run):
    for wrong in (
        ("metric", "satisfaction", "7", "--owner", "eva", "--surface", "shpo"),
        ("target", "satisfaction", "7", "--owner", "eva", "--surface", "shpo"),
    ):
        assert "no surface is called 'shpo'; there are shop" in run("record", *wrong)[2]
    assert run("scorecard", "--surface", "shpo")[0] == 3
    later = ("--owner", "eva", "--at", "2096-01-01")
    assert "in the future" in run("record", "metric", "satisfaction", "7", *later)[2]
    again = run("record", "release", "10", "--surface", "shop")
    assert "release 10 of shop was announced" in again[2]
    assert "no metric is called 'nps'" in run("record", "metric", "nps", "4", "--owner", "eva")[2]
    assert run("record", "metric", "enablement", "0.4")[0] == 2
    assert run("record", "metric", "enablement", "0.4", "--owner", "eva")[0] == 0
    assert run("record", "target", "enablement", "0.5", "--owner", "eva")[0] == 0
    rate = ("record", "target", "rate", "--owner", "ana", "--mode")
    assert "name it with --surface" in run(*rate, "rude", "0.01")[2]  # it would count nowhere
    assert "no mode 'cold' of shop" in run(*rate, "cold", "0.01", "--surface", "shop")[2]
    assert "such as 0.01; got 5" in run(*rate, "rude", "5", "--surface", "shop")[2]
    assert run(*rate, "rude", "0.01", "--surface", "shop")[0] == 0
    due = ("--text", "Hire", "--owner", "eva", "--due", "2026-12-31")
    assert run("record", "decision", "hire", *due)[0] == 0
    about = ("record", "decision", "fix", *due, "--surface", "shop", "--mode")
    assert "no mode 'cold' of shop" in run(*about, "cold")[2]
    assert run(*about, "rude")[0] == 0
    elsewhere = run("record", "decision", "hire", *due, "--done", "--surface", "shop")
    assert (elsewhere[0], "'hire' is the company's" in elsewhere[2]) == (3, True)
    assert (
        "no mode 'cold'"
        in run("record", "release", "11", "--surface", "shop", "--target", "cold")[2]
    )
    assert run("record", "release", "11", "--surface", "shop", "--target", "rude")[0] == 0
    lines = run("scorecard")[1]
    assert len(lines) == len(METRICS)
    assert "enablement: Enablement: 40%; missed; target 50%; owner eva" in lines
    assert "satisfaction: Stakeholder satisfaction: not recorded; nobody recorded it" in lines
