"""Slices by what the data itself says of its recordings."""

import numpy as np
import pandas as pd
import pytest

from components.verification.manifest_columns import (
    MOST_VALUES,
    column_heading,
    columns_in_common,
    synthetic_speakers,
    with_columns,
)
from components.verification.slices import measure_slices
from tests.components.verification.support_trials import scored_trials, utterances


def sliced(columns, speakers=6, recordings=2):
    table = with_columns(utterances(speakers, recordings), columns)
    trials = scored_trials(table)
    found = measure_slices(trials, resamples=5, seed=0)
    own = [each for each in found if each.sliced_by.startswith(("column_", "days_"))]
    return trials, {(each.sliced_by, each.value): each for each in own}


def of_recordings(cell, speakers=6, recordings=2):
    """Columns by recording, from what `cell(speaker, recording)` says."""
    return {
        f"s{speaker}/{recording}.wav": cells
        for speaker in range(speakers)
        for recording in range(recordings)
        if (cells := cell(speaker, recording))
    }


def test_a_column_slices_the_trials_by_what_both_sides_share():
    language = ("ne", "ne", "ne", "en", "en", None)
    columns = of_recordings(lambda s, r: {"language": language[s]} if language[s] else {})
    trials, found = sliced(columns)
    assert set(found) == {("column_language", each) for each in ("ne", "en", "mixed", "unknown")}
    of = dict(zip([f"s{s}" for s in range(6)], language, strict=True))
    both = trials["speaker_a"].map(of).eq("ne") & trials["speaker_b"].map(of).eq("ne")
    part = found["column_language", "ne"]
    assert part.similar == (both & (trials["label"] == 1)).sum() > 0
    assert part.dissimilar == (both & (trials["label"] == 0)).sum() > 0
    assert part.speakers == 3
    mixed = found["column_language", "mixed"]
    assert (mixed.similar, mixed.speakers) == (0, 5)


def test_another_device_is_a_slice_of_its_own():
    columns = of_recordings(lambda s, r: {"device": ("phone", "laptop")[r]})
    trials, found = sliced(columns)
    # Same-speaker trials are of two recordings, here on two devices.
    assert set(found) == {("column_device", "mixed")}
    assert found["column_device", "mixed"].similar == (trials["label"] == 1).sum()


@pytest.mark.parametrize(
    "cell",
    [
        lambda s, r: {"accent": "the one"},
        lambda s, r: {"sentence": f"{s} {r}"},
        lambda s, r: {"pitch": str(s)},
    ],
    ids=["the same everywhere", "another for every recording", "another for every speaker"],
)
def test_a_column_that_tells_no_error_rates_apart_is_no_slice(cell):
    _, found = sliced(of_recordings(cell))
    assert not found


def test_of_many_values_the_same_ones_are_one_slice():
    # Two speakers of each town, each with a second recording in the same one.
    speakers = 2 * (MOST_VALUES + 1)
    columns = of_recordings(lambda s, r: {"town": f"t{s // 2}"}, speakers)
    _, found = sliced(columns, speakers)
    assert set(found) == {("column_town", "same"), ("column_town", "mixed")}


def test_dates_slice_same_speaker_trials_by_the_days_between():
    days = ("2024-01-01", "2024-01-01T18:30", "2024-01-08", "2024-02-01", "2025-02-01")
    columns = of_recordings(lambda s, r: {"date": days[r]} if r < 5 else {}, 3, 6)
    trials, found = sliced(columns, 3, 6)
    different = (trials["label"] == 0).sum()
    assert {value: (part.similar, part.dissimilar) for (_, value), part in found.items()} == {
        "same_day": (3 * 4, different),
        "up_to_a_week": (3 * 2 * 4, different),
        "up_to_a_month": (3 * 3 * 4, different),
        "longer": (3 * 4 * 4, different),
        "unknown": (3 * 5 * 4, different),
    }
    assert {name for name, _ in found} == {"days_date"}
    assert trials["days_date"].max() == 397


def test_other_dates_are_a_column_as_any():
    columns = of_recordings(lambda s, r: {"date": f"{s % 2}.3.2024"})
    _, found = sliced(columns)
    assert {value for _, value in found} == {"0.3.2024", "1.3.2024", "mixed"}


def test_a_table_without_columns_has_none():
    table = utterances(2)
    pd.testing.assert_frame_equal(with_columns(table, {}), table)
    assert columns_in_common(table, table) == {}


def test_days_do_not_depend_on_the_order():
    table = with_columns(
        utterances(1), {"s0/0.wav": {"date": "2024-03-01"}, "s0/1.wav": {"date": "2024-02-28"}}
    )
    one, other = table.iloc[[0, 2]], table.iloc[[2, 0]]
    np.testing.assert_array_equal(columns_in_common(one, other)["days_date"], [2.0, 2.0])


def test_synthetic_speakers_are_counted_by_their_column():
    columns = of_recordings(lambda s, r: {"synthetic": ("yes", "Yes", "no")[s % 3]})
    assert synthetic_speakers(with_columns(utterances(6), columns)) == 4
    assert synthetic_speakers(utterances(6)) == 0


@pytest.mark.parametrize(
    ("sliced_by", "expected"),
    [("column_home_town", "home_town"), ("days_date", "days between recordings, by date")],
)
def test_columns_are_called_as_in_the_data(sliced_by, expected):
    assert column_heading(sliced_by) == expected
