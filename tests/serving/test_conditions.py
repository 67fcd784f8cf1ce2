from dataclasses import replace

import pytest

from components.recording_quality import RecordingQuality
from serving.conditions import CalibratedConditions, describe_quality

GOOD = RecordingQuality(speech_seconds=6.0, snr_db=35.0, bandwidth_hz=8_000.0, clipped_fraction=0.0)
CARD = {"calibration": {"nontargets": [{"seconds": 3.04}, {"seconds": 6.08}]}}


def test_a_card_says_its_conditions_and_what_it_does_not_say_is_the_base_models() -> None:
    of_base = CalibratedConditions.of_card(CARD)
    assert of_base.least_speech_seconds == 3.04
    own = {"least_snr_db": 20.0, "least_bandwidth_hz": 3_500.0, "largest_bandwidth_ratio": 2.0}
    card = {"calibration": CARD["calibration"] | {"conditions": own}}
    assert CalibratedConditions.of_card(card) == CalibratedConditions(3.04, 20.0, 3_500.0, 2.0)
    assert CalibratedConditions.of_card({"sample_rate": 8_000}).least_bandwidth_hz == 3_200.0
    assert CalibratedConditions.of_card({}).warnings({"A": replace(GOOD, speech_seconds=0.5)}) == ()


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"speech_seconds": 1.04}, "A has 1.0 s of speech, less than the calibration's 3.0 s"),
        ({"snr_db": 3.2}, "A has an SNR of 3 dB, less than 12 dB"),
        ({"bandwidth_hz": 4_000.0}, "A reaches up to 4.0 kHz, less than 4.2 kHz"),
        ({"clipped_fraction": 0.02}, "2.0 % of A are clipped"),
    ],
)
def test_what_lies_outside_of_the_calibration_is_warned_of(
    change: dict[str, float], warning: str
) -> None:
    conditions = CalibratedConditions.of_card(CARD)
    assert conditions.warnings({"A": GOOD, "B": GOOD}) == ()
    warnings = conditions.warnings({"A": replace(GOOD, **change), "B": replace(GOOD, **change)})
    assert len(warnings) == 2
    assert warnings[0].startswith(warning)
    assert all(each.endswith("the expected error rates cannot be promised") for each in warnings)


def test_two_sides_of_different_bandwidth_are_warned_of() -> None:
    conditions = CalibratedConditions.of_card(CARD)
    narrow, less = replace(GOOD, bandwidth_hz=4_500.0), replace(GOOD, bandwidth_hz=6_500.0)
    assert conditions.warnings({"A": narrow, "B": less}) == ()
    (warning,) = conditions.warnings({"A": narrow, "B": GOOD})
    assert warning.startswith("the bandwidths differ: A 4.5 kHz and B 8.0 kHz")
    assert conditions.warnings({"A": narrow, "B": None}) == ()
    # An enrolled speaker may have been recorded over several lines.
    assert conditions.warnings({"A": narrow}, [8_000.0, 4_250.0]) == ()
    (warning,) = conditions.warnings({"A": narrow}, [8_000.0, 7_500.0])
    assert "A 4.5 kHz, the enrolled recordings 7.5 kHz" in warning
    assert conditions.warnings_of_bandwidths([8_000.0, 6_500.0]) == ()
    assert len(conditions.warnings_of_bandwidths([8_000.0, 6_500.0, 4_000.0])) == 1
    assert conditions.warnings_of_bandwidths([]) == ()


def test_a_quality_is_described_in_a_line() -> None:
    assert describe_quality(GOOD) == "6.0 s of speech, SNR 35 dB, up to 8.0 kHz"
    clipped = replace(GOOD, speech_seconds=None, clipped_fraction=0.0123)
    assert describe_quality(clipped) == "SNR 35 dB, up to 8.0 kHz, 1.2 % clipped"
