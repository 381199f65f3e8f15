"""The geometry of charts."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from backend.reports import charts
from backend.reports.records import Interval, PromotionMark, Week

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def after(weeks: float) -> datetime:
    return MONDAY + timedelta(weeks=weeks)


def week(number: int, mean: float, n: int = 10) -> Week:
    return Week(MONDAY + timedelta(weeks=number), n, Interval(mean, mean - 0.5, mean + 0.5, n))


def promotion(day: int) -> PromotionMark:
    return PromotionMark(day, MONDAY + timedelta(days=day), "promotion", "new", "old", "ann", "")


def test_weeks_stay_in_their_frame_and_higher_means_more() -> None:
    chart = charts.weeks_chart([week(0, 4.0), week(2, 2.0)], [], charts.WIDE, after(3))

    assert chart is not None
    frame, (first, last) = chart.frame, chart.spots
    assert frame.left < first.x < last.x < frame.right
    assert first.high is not None
    assert first.low is not None
    assert frame.top <= first.high < first.y < first.low <= frame.bottom
    assert first.y < last.y


def test_a_week_without_objects_keeps_its_place_and_interrupts_the_line() -> None:
    weeks = [week(0, 4.0), week(2, 2.0), week(3, 2.0)]
    chart = charts.weeks_chart(weeks, [], charts.WIDE, after(4))

    assert chart is not None
    gap, step = (b.x - a.x for a, b in pairwise(chart.spots))
    assert gap == pytest.approx(2 * step, abs=0.2)
    assert chart.lines[0].path.count("M") == 2


def test_the_axis_ends_today() -> None:
    # given weeks of which the newest is long ago, or has just begun
    old, new = [week(0, 4.0)], [week(0, 4.0), week(8, 4.0)]
    # when
    long_ago = charts.weeks_chart(old, [], charts.WIDE, after(8.5))
    begun = charts.weeks_chart(new, [], charts.WIDE, after(8.5))
    # then
    assert long_ago is not None
    assert begun is not None
    assert long_ago.across[-1] == begun.across[-1]
    assert begun.across[-1] == charts.Tick(long_ago.frame.right, "31 Dec")
    assert long_ago.spots[0].x == begun.spots[0].x
    assert begun.spots[-1].x < begun.frame.right, "the middle of what is over"


def test_a_small_line_ends_today_too() -> None:
    line = charts.sparkline([week(0, 4.0), week(1, 4.0)], [], after(8))

    assert line is not None
    assert line.lines[0].marks[0][0] < line.frame.width / 2


def test_no_weeks_make_no_chart() -> None:
    assert charts.weeks_chart([], [], charts.WIDE, after(0)) is None
    assert charts.sparkline([week(0, 4.0)], [], after(1)) is None, "one week makes no line"


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_days_below_the_axis_never_touch(width: float) -> None:
    chart = charts.weeks_chart([week(number, 2.0) for number in range(60)], [], width, after(60))

    assert chart is not None
    places = [tick.at for tick in chart.across]
    assert len(places) > 3
    assert all(b - a >= 46 for a, b in pairwise(places))


def test_promotions_close_together_share_a_flag() -> None:
    weeks = [week(number, 2.0) for number in range(10)]

    chart = charts.weeks_chart(
        weeks, [promotion(1), promotion(2), promotion(40)], charts.WIDE, after(10)
    )

    assert chart is not None
    assert [flag.text for flag in chart.flags] == ["1–2", "3"]


def test_bars_are_as_high_as_their_shares() -> None:
    chart = charts.bars([("Objects", (0, 20, 10, *(0,) * 18))], 420.0)

    assert chart is not None
    one, two, *rest = chart.bars[0][1]
    assert one.height == pytest.approx(2 * two.height, abs=0.1)
    assert all(bar.height == 0 for bar in rest)
    assert one.text == "20 objects (66.7 %) took 1 interaction"
    assert one.share == "67"


def test_the_last_bar_is_open() -> None:
    chart = charts.bars([("Objects", (0, 2, *(0,) * 18, 1))], 420.0)

    assert chart is not None
    assert chart.bars[0][1][-1].text == "1 objects (33.3 %) took 20 interactions or more"
    assert chart.across[-1].text == "20+"


def test_no_objects_make_no_bars() -> None:
    assert charts.bars([("Objects", (0,) * 21)], 420.0) is None


def test_names_of_curves_do_not_cover_each_other() -> None:
    curves = {name: [(0.0, 1.0), (10.0, 0.5)] for name in ("loss", "loss_val", "loss_aux")}

    chart = charts.curves(curves, charts.WIDE)

    assert chart is not None
    heights = sorted(series.name_at for series in chart.lines)
    assert all(b - a >= 15 for a, b in pairwise(heights))
    assert heights[-1] <= chart.frame.bottom
    assert charts.curves({"loss": [(0.0, 1.0)]}, charts.WIDE) is None
