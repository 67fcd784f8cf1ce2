"""Seconds of the mixed load that `benchmarks.mixed_load` keeps up for minutes."""

import asyncio
from dataclasses import asdict

import pytest

from benchmarks.mixed_load import asking, flooded, load
from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from serving.standin.limits import Limits
from tests.bad_recordings import speech_like
from tests.serving.support_standin import served

RATE = 8_000
LIMITS = Limits(
    max_request_bytes=2**21, max_bytes_in_flight=2**24, idle_seconds=5.0, body_seconds=15.0
)
SECONDS = 6.0


def write_small_model(folder):
    front_end = FrontEnd(
        SpeechSettings(sample_rate=RATE, require_voice=False),
        SpectrogramSettings(window_seconds=0.624, n_fft=256, hop_samples=128, n_mels=32),
        ServingSettings(max_seconds=30.0),
    )
    tower = build_tower(TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8), 32, 40)
    export(tower, Calibration(0.05, 40.0), front_end, {}, str(folder), unit_norm=True)


@pytest.mark.long
def test_every_answer_is_right_under_mixed_and_hostile_load(tmp_path):
    write_small_model(tmp_path / "1")
    speech = speech_like(1, RATE, 30.0)

    async def work(ports):
        async with asking(ports, tmp_path, speech) as (connected, expected):
            tallies = await load(connected, expected, tmp_path, SECONDS, LIMITS)
            return tallies | {"flood": await flooded(connected, expected, LIMITS)}

    with served(tmp_path, limits=asdict(LIMITS)) as ports:
        tallies = asyncio.run(work(ports))
    assert {name: tally.wrong for name, tally in tallies.items() if tally.wrong} == {}
    answered = {name for name, tally in tallies.items() if tally.latencies}
    assert answered >= tallies.keys() - {"cut off"}
    assert tallies["cut off"].cut_off > 0
