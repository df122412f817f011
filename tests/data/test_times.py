"""Units of times are told apart by size, and all forms of a time give the seconds that pandas gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gnnrec.data.reading import times

MOMENTS = pd.Series(
    pd.to_datetime(["1970-01-02 00:00:00", "1996-03-29 08:36:55", "2014-05-13 16:53:20", "2038-01-19 03:14:08"])
)
SECONDS = ((MOMENTS - pd.Timestamp(0)) // pd.Timedelta(seconds=1)).to_numpy()


@pytest.mark.parametrize("unit, factor", times.PER_SECOND.items())
@pytest.mark.parametrize("kind", [int, float, str])
def test_the_unit_of_numbers_follows_from_their_size(unit, factor, kind):
    values = [kind(second * factor) for second in SECONDS[1:]]
    assert times.detect_unit([*values, None, "", 0, -1]) == unit
    np.testing.assert_array_equal(times.seconds(pa.chunked_array([values]), unit), SECONDS[1:])


def test_numbers_are_rounded_down():
    column = pa.chunked_array([[-1500, 1999, 2000]])
    assert times.seconds(column, "ms").tolist() == [-2, 1, 2]
    assert times.seconds(column.cast(pa.float64()), "ms").tolist() == [-2, 1, 2]
    assert times.seconds(pa.chunked_array([[1.9, -0.5]]), "s").tolist() == [1, -1]


@pytest.mark.parametrize(
    "values, unit",
    [
        ([100, 200, 300], "s"), ([0, 0], "s"), ([], "s"), (["", "NA"], "s"), ([20140513, 19991231], times.DATE),
        ([20140513, 20141313], "s"), (["2014-05-13", "x"], times.TEXT), (["2014-05-13", 5, 6], "s"),
        ([pd.Timestamp(0).date()], times.TYPED), ([np.int64(1_400_000_000_000)], "ms"),
    ],
)  # fmt: skip
def test_units_of_other_values(values, unit):
    assert times.detect_unit(values) == unit


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Kolkata"])
def test_times_with_a_type(unit, zone):
    column = pa.chunked_array([pa.array(MOMENTS.tolist(), pa.timestamp(unit, tz=zone))])
    np.testing.assert_array_equal(times.seconds(column, times.TYPED), SECONDS)


def test_dates():
    days = SECONDS // 86400 * 86400
    numbers = [int(text) for text in MOMENTS.dt.strftime("%Y%m%d")]
    np.testing.assert_array_equal(times.seconds(pa.chunked_array([numbers]), times.DATE), days)
    for kind in (pa.date32(), pa.date64()):
        column = pa.chunked_array([pa.array(MOMENTS.dt.date.tolist(), kind)])
        np.testing.assert_array_equal(times.seconds(column, times.TYPED), days)
    np.testing.assert_array_equal(times.seconds(pa.chunked_array([MOMENTS.dt.strftime("%Y-%m-%d")]), times.TEXT), days)


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.999999", "%Y-%m-%d %H:%M:%S UTC",
     "%Y-%m-%dT%H:%M:%S-00:00", " %Y-%m-%d %H:%M:%S.5 "],
)  # fmt: skip
@pytest.mark.parametrize("mixed", [False, True])
def test_text(form, mixed):
    texts = MOMENTS.dt.strftime(form).tolist() + (["2014-05-13T11:53:20-05:00"] if mixed else [])
    assert times.detect_unit(texts) == times.TEXT
    expected = [*SECONDS, *([1_400_000_000] if mixed else [])]
    column = pa.chunked_array([pa.array(texts).dictionary_encode() if mixed else pa.array(texts)])
    assert times.seconds(column, times.TEXT).tolist() == expected
    assert [times.parse_text(text) for text in texts] == expected


@pytest.mark.parametrize("text", ["today", "2014-13-13", "13/05/2014"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError):
        times.parse_text(text)
    with pytest.raises(pa.ArrowInvalid):
        times.seconds(pa.chunked_array([["2014-05-13", text]]), times.TEXT)
