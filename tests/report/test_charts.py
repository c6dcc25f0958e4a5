"""Charts draw what they are given, say it in words too, and need neither colour nor network."""

import polars as pl
import pytest
from great_tables import GT
from IPython.display import Markdown
from polars.testing import assert_frame_equal

from evalbench.report import charts

ALL = (
    "before_after",
    "intervals",
    "over_time",
    "shares",
    "agreements",
    "agreement_by_week",
)


@pytest.fixture
def moments():
    return pl.DataFrame(
        {
            "surface": ["shop"] * 4,
            "release": ["2"] * 4,
            "name": ["Is rude", "Is rude", "Is <cold>", "Is <cold>"],
            "moment": ["before 2", "after 2"] * 2,
            "per_1000": [50.0, 20.0, None, None],
            "low_per_1000": [30.0, 10.0, None, None],
            "high_per_1000": [80.0, 35.0, None, None],
            "reading": ["improvement"] * 2 + ["insufficient"] * 2,
        }
    )


def agreed():
    """Give a mode on which people agree, and one on which that cannot be said."""
    return pl.DataFrame(
        {
            "surface": ["shop"] * 2,
            "name": ["Is rude", "Is <cold>"],
            "week": ["2026-07-06", "2026-07-13"],
            "alpha": [0.8, None],
            "alpha_low": [0.7, None],
            "alpha_high": [0.9, None],
            "ac1": [0.9, None],
            "alpha_said": ["0.80 (0.70 to 0.90)", "insufficient"],
            "reading": ["people agree", "insufficient"],
        }
    ).with_columns(pl.col("week").str.to_date())


@pytest.fixture
def chart(request, moments):
    kinds = {
        "before_after": lambda: charts.before_after(moments),
        "intervals": lambda: charts.intervals(
            moments.filter(moment="after 2").with_columns(said=pl.lit("20.0 (10.0 to 35.0)"))
        ),
        "over_time": lambda: charts.over_time(
            pl.DataFrame(
                {"surface": ["shop"] * 2, "start": ["2026-07-06", "2026-07-13"], "sessions": [5, 0]}
            ).with_columns(pl.col("start").str.to_date())
        ),
        "agreements": lambda: charts.agreements(agreed(), least=2 / 3),
        "agreement_by_week": lambda: charts.agreement_by_week(agreed()),
        "shares": lambda: charts.shares(
            pl.DataFrame({"surface": ["shop"], "name": ["stars"], "share": [0.2], "said": ["20%"]}),
            title="share recorded",
        ),
    }
    return kinds[request.param]()


@pytest.mark.parametrize("chart", ALL, indirect=True)
def test_every_chart_is_described_and_drawn_within_the_page(chart):
    specification = chart.to_dict()
    assert "shop" in specification["description"]
    page = chart._repr_mimebundle_()["text/html"]
    assert page.startswith('<svg role="figure" aria-label="')
    assert "<script" not in page
    assert "href" not in page.replace("xmlns:xlink", "")


def test_before_and_after_differ_in_shape_and_dash_as_well_as_colour(moments):
    before = moments.clone()
    specification = charts.before_after(moments).to_dict()
    interval, point, said = specification["layer"]
    shape = point["encoding"]["shape"]["scale"]
    assert shape == {"domain": ["before 2", "after 2"], "range": ["circle", "diamond"]}
    assert interval["encoding"]["strokeDash"]["condition"]["test"] == "datum.moment === 'before 2'"
    assert said["encoding"]["text"]["field"] == "reading"
    assert interval["encoding"]["x2"]["field"] == "high_per_1000"
    assert_frame_equal(moments, before)


def test_the_description_says_insufficient_aloud(moments):
    spoken = charts.before_after(moments).to_dict()["description"]
    assert "Is rude, before 2: 50.0 (30.0 to 80.0)." in spoken
    assert "Is <cold>, after 2: insufficient." in spoken


def test_text_of_traces_stays_text(moments):
    page = charts.before_after(moments)._repr_mimebundle_()["text/html"]
    assert "<cold>" not in page
    table = charts.table(moments, labels={"name": "Mode", "per_1000": "Rate"}, by="surface")
    assert isinstance(table, GT)
    assert "<cold>" not in table.as_raw_html()


def test_two_charts_of_a_page_do_not_share_clipping_paths(moments):
    import altair as alt

    drawn = [
        alt.Chart(frame).mark_point(clip=True).encode(x="per_1000")._repr_mimebundle_()["text/html"]
        for frame in (moments, moments.head(1))
    ]
    names = [page.split('<clipPath id="')[1].split('"')[0] for page in drawn]
    assert names[0] != names[1]
    assert all(f"url(#{name})" in page for name, page in zip(names, drawn, strict=True))


def test_a_table_shows_the_labelled_columns_in_order_and_says_when_empty(moments):
    page = charts.table(
        moments, labels={"per_1000": "Rate", "name": "Mode"}, decimals={"per_1000": 2}
    ).as_raw_html()
    assert page.index("Rate") < page.index("Mode")
    assert ">20.00<" in page
    assert ">–<" in page
    assert "reading" not in page
    nothing = charts.table(moments.clear(), labels={"name": "Mode"}, empty="None at all.")
    assert isinstance(nothing, Markdown)
    assert nothing.data == "None at all."


def test_a_map_names_its_clusters_once_and_tells_them_aloud():
    frame = pl.DataFrame(
        {
            "x": [0.0, 0.1, 0.9],
            "y": [0.0, -0.2, 0.5],
            "cluster": [0, 0, 1],
            "name": ["Is <rude>", "Is <rude>", "Is late"],
            "sure": [True, False, True],
        }
    )
    drawn = charts.cluster_map(frame, title="shop: notes")
    sure, unsure, halo, said = drawn.to_dict()["layer"]
    assert (sure["mark"]["type"], unsure["mark"]["type"]) == ("circle", "point")
    assert halo["data"] == said["data"]
    placed = drawn.to_dict()["datasets"][said["data"]["name"]]
    assert [(row["name"], row["x"], row["y"]) for row in placed] == [
        ("Is <rude>", 0.1, -0.2),  # above its highest point
        ("Is late", 0.9, 0.5),
    ]
    assert drawn.to_dict()["description"] == "shop: notes. Is <rude>: 2. Is late: 1."
    assert "<rude>" not in drawn._repr_mimebundle_()["text/html"]


def test_what_reading_shows_is_counted_then_expected():
    rows = [("shop", 0, 0.0, None, None, "read"), ("shop", 30, 4.0, 4.0, 4.0, "expected")]
    columns = ["surface", "sessions", "modes", "low", "high", "part"]
    frame = pl.DataFrame([*rows, ("shop", 130, 4.6, 4.0, 6.0, "expected")], columns, orient="row")
    drawn = charts.seen_by_reading(frame).to_dict()
    assert drawn["layer"][1]["encoding"]["strokeDash"]["sort"] == ["read", "expected"]
    assert drawn["description"] == "shop: kinds of failure seen. 4.6 after 130 sessions."
