"""Charts draw what they are given, say it in words too, and need neither colour nor network."""

import re

import polars as pl

from evalbench.report import charts


def draw(chart):
    return chart._repr_mimebundle_()["text/html"]


def agreed():
    """Give a mode on which people (or an evaluator) agree, and one on which that is not known."""
    known = {"alpha": [0.8, None], "alpha_low": [0.7, None], "alpha_high": [0.9, None]}
    known |= {name.replace("alpha", "mcc"): values for name, values in known.items()}
    words = {"name": ["Is rude", "Is <cold>"], "reading": ["people agree", "insufficient"]}
    words |= {"who": words["name"], "status": words["reading"], "surface": ["shop"] * 2}
    weeks = {"week": ["2026-07-06", "2026-07-13"], "ac1": [0.9, None], "ceiling": [0.9, None]}
    return pl.DataFrame(words | known | weeks).with_columns(pl.col("week").str.to_date())


def test_every_chart_is_described_and_drawn_within_the_page():
    weeks = {"surface": ["shop"] * 2, "start": ["2026-07-06", "2026-07-13"], "sessions": [5, 0]}
    shares = {"surface": ["shop"], "name": ["stars"], "share": [0.2], "said": ["20%"]}
    for chart in (
        charts.over_time(pl.DataFrame(weeks).with_columns(pl.col("start").str.to_date())),
        charts.agreements(agreed(), least=2 / 3),
        charts.alignments(agreed(), least=0.6),
        charts.agreement_by_week(agreed()),
        charts.shares(pl.DataFrame(shares), title="share recorded"),
    ):
        assert chart.to_dict()["description"].startswith("Shop: ")
        page = chart._repr_mimebundle_()["text/html"]
        assert page.startswith('<svg role="figure" aria-label="')
        assert "<cold>" not in page
        assert "<script" not in page
        assert "href" not in page.replace("xmlns:xlink", "")


def test_the_description_says_insufficient_aloud():
    said = charts.agreements(agreed(), least=2 / 3).to_dict()["description"]
    assert "Is rude: 0.80 (0.70 to 0.90), people agree." in said
    assert "Is <cold>: insufficient" in said


def test_two_charts_of_a_page_do_not_share_clipping_paths():
    import altair as alt

    drawn = [
        alt.Chart(frame).mark_point(clip=True).encode(x="alpha")._repr_mimebundle_()["text/html"]
        for frame in (agreed(), agreed().head(1))
    ]
    names = [page.split('<clipPath id="')[1].split('"')[0] for page in drawn]
    assert names[0] != names[1]
    assert all(f"url(#{name})" in page for name, page in zip(names, drawn, strict=True))


def test_a_text_of_a_chart_is_shown_with_its_hidden_characters_and_no_other_change():
    named = agreed().with_columns(who=pl.Series(['"clip0 (#clip0', "2' \u202e\\"]))
    page = draw(charts.alignments(named, least=0.6))
    assert "\u202e" not in page
    assert "2' ⟦U+202E⟧\\" in page
    assert '>"clip0 (#clip0<' in page
    long = charts.alignments(named.with_columns(who=pl.lit("2 " * 400)), least=0.6)
    assert 400 < float(re.search(r'width="([\d.]+)"', draw(long))[1]) < 850


def test_a_map_names_its_clusters_once_and_tells_them_aloud():
    frame = pl.DataFrame(
        {
            "surface": ["shop"] * 3,
            "x": [0.0, 0.1, 0.9],
            "y": [0.0, -0.2, 0.5],
            "cluster": [0, 0, 1],
            "name": ["Is <rude>", "Is <rude>", "Is late"],
            "sure": [True, False, True],
        }
    )
    drawn = charts.cluster_map(frame, title="notes")
    sure, unsure, halo, said = drawn.to_dict()["layer"]
    assert (sure["mark"]["type"], unsure["mark"]["type"]) == ("circle", "point")
    assert halo["data"] == said["data"]
    placed = drawn.to_dict()["datasets"][said["data"]["name"]]
    assert [(row["name"], row["x"], row["y"]) for row in placed] == [
        ("Is <rude>", 0.1, -0.2),  # above its highest point
        ("Is late", 0.9, 0.5),
    ]
    assert drawn.to_dict()["description"] == "Shop: notes. Is <rude>: 2. Is late: 1."
    assert "<rude>" not in drawn._repr_mimebundle_()["text/html"]


def test_what_reading_shows_is_counted_then_expected():
    rows = [("shop", 0, 0.0, None, None, "read"), ("shop", 30, 4.0, 4.0, 4.0, "expected")]
    columns = ["surface", "sessions", "modes", "low", "high", "part"]
    frame = pl.DataFrame([*rows, ("shop", 130, 4.6, 4.0, 6.0, "expected")], columns, orient="row")
    drawn = charts.seen_by_reading(frame).to_dict()
    assert drawn["layer"][1]["encoding"]["strokeDash"]["sort"] == ["read", "expected"]
    assert drawn["description"] == "Shop: kinds of failure seen. 4.6 after 130 sessions."
