"""The kinds of recordings that a model's expected error rates hold for, and warnings for others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from components.recording_quality import RecordingQuality
from components.verification.error_rates import ALL_NONTARGETS

LEAST_SNR_DB: Final = 12.0
LEAST_BANDWIDTH_HZ: Final = 4_250.0
LARGEST_BANDWIDTH_RATIO: Final = 1.5
"""For a model whose card has no limits: as far as `python -m benchmarks.conditions` finds the base
model's error rates on wide-band speech unchanged, see docs/decisions.md."""
MOST_CLIPPED: Final = 0.005
"""Share of the samples; a smaller one is hard to tell from loud speech."""
_NARROWEST_SHARE: Final = 0.4  # of a model's sample rate
_NO_RATES: Final = "the expected error rates cannot be promised"


@dataclass(frozen=True)
class CalibratedConditions:
    """The conditions that a model was calibrated under."""

    least_speech_seconds: float
    """Of a recording; 0 if the card does not say."""
    least_snr_db: float
    least_bandwidth_hz: float
    largest_bandwidth_ratio: float
    """Of the wider to the narrower of two recordings."""

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Self:
        """The conditions in a model's card.

        Values that an older version's card lacks are those measured with the base model, see
        docs/decisions.md.
        """
        calibration = card.get("calibration", {})
        rows = calibration.get(ALL_NONTARGETS, ())
        conditions = calibration.get("conditions", {})
        # A model of telephone calls takes no wider recordings.
        least_hz = min(LEAST_BANDWIDTH_HZ, _NARROWEST_SHARE * card.get("sample_rate", math.inf))
        return cls(
            min((float(row["seconds"]) for row in rows if "seconds" in row), default=0.0),
            float(conditions.get("least_snr_db", LEAST_SNR_DB)),
            float(conditions.get("least_bandwidth_hz", least_hz)),
            float(conditions.get("largest_bandwidth_ratio", LARGEST_BANDWIDTH_RATIO)),
        )

    def warnings(
        self, recordings: Mapping[str, RecordingQuality | None], other_hz: Sequence[float] = ()
    ) -> tuple[str, ...]:
        """Why the expected rates may not apply, a sentence each.

        Args:
            recordings: one or both sides of a comparison, by their names in messages.
            other_hz: bandwidths of the enrolled recordings, one of which has to fit.
        """
        known = {name: quality for name, quality in recordings.items() if quality is not None}
        faults = [fault for name, each in known.items() for fault in self._faults(name, each)]
        bandwidths = {name: each.bandwidth_hz for name, each in known.items()}
        faults += self._different(bandwidths, other_hz) or self._narrow(bandwidths)
        return tuple(f"{fault}: {_NO_RATES}" for fault in faults)

    def _different(self, hertz: Mapping[str, float], other_hz: Sequence[float]) -> list[str]:
        """Which bandwidths differ from each other, or from all of `other_hz`."""
        if len(hertz) == 2 and self._differ(*hertz.values()):
            both = " and ".join(f"{name} {_kilohertz(each)}" for name, each in hertz.items())
            return [f"the bandwidths differ: {both}"]
        return [
            f"the bandwidths differ: {name} {_kilohertz(each)}, the enrolled recordings "
            f"{_kilohertz(min(other_hz, key=lambda other: abs(other - each)))}"
            for name, each in hertz.items()
            if other_hz and all(self._differ(each, other) for other in other_hz)
        ]

    def _narrow(self, hertz: Mapping[str, float]) -> list[str]:
        return [
            f"{name} reaches up to {_kilohertz(each)}, less than "
            f"{_kilohertz(self.least_bandwidth_hz)}"
            for name, each in hertz.items()
            if each < self.least_bandwidth_hz
        ]

    def warnings_of_bandwidths(self, hertz: Sequence[float]) -> tuple[str, ...]:
        """A sentence if the bandwidths of one speaker's recordings differ too much."""
        if not hertz or not self._differ(min(hertz), max(hertz)):
            return ()
        return (
            f"the recordings' bandwidths differ, {_kilohertz(min(hertz))} to "
            f"{_kilohertz(max(hertz))}: of speakers who are asked about over one line, enrol "
            "recordings of that line",
        )

    def _faults(self, name: str, quality: RecordingQuality) -> list[str]:
        faults = []
        seconds = quality.speech_seconds
        if seconds is not None and seconds < self.least_speech_seconds:
            faults.append(
                f"{name} has {seconds:.1f} s of speech, less than the calibration's "
                f"{self.least_speech_seconds:.1f} s"
            )
        if quality.snr_db < self.least_snr_db:
            faults.append(
                f"{name} has an SNR of {quality.snr_db:.0f} dB, less than "
                f"{self.least_snr_db:.0f} dB"
            )
        if quality.clipped_fraction > MOST_CLIPPED:
            faults.append(f"{100 * quality.clipped_fraction:.1f} % of {name} are clipped")
        return faults

    def _differ(self, one_hz: float, other_hz: float) -> bool:
        narrow, wide = sorted((one_hz, other_hz))
        return wide > self.largest_bandwidth_ratio * narrow


def describe_quality(quality: RecordingQuality) -> str:
    """A recording's quality in a line."""
    seconds = quality.speech_seconds
    parts = [] if seconds is None else [f"{seconds:.1f} s of speech"]
    parts += [f"SNR {quality.snr_db:.0f} dB", f"up to {_kilohertz(quality.bandwidth_hz)}"]
    if quality.clipped_fraction > 0.0:
        parts.append(f"{100 * quality.clipped_fraction:.2g} % clipped")
    return ", ".join(parts)


def _kilohertz(hertz: float) -> str:
    return f"{hertz / 1_000:.1f} kHz"
