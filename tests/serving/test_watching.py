"""Those who watch a model see every answer, and nothing of who was asked about."""

import contextlib
import io
import json
import socket
import stat
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from prometheus_client import generate_latest

from components.errors import SwarError
from components.pcm16 import pack_wav
from serving import bulk, recognition, watch_counters, watching
from serving.client import Client
from serving.gallery import Gallery
from serving.recordings import Waveform
from serving.watch_counters import WatchCounters
from serving.watching import WatchLog
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, voice

LOW, HIGH = 110.0, 320.0
SILENCE = pack_wav(np.zeros(3 * RATE, np.int16), RATE)


@pytest.fixture
def rows() -> list[Any]:
    return []


@pytest.fixture
def client(model: FakeModel, rows: list[Any]) -> Iterator[Client]:
    with grpc_endpoint(model) as url, Client(url, watchers=[rows.append]) as client:
        yield client


def said(pitch: float, seconds: float = 3.0, *, seed: int = 0) -> Waveform:
    return Waveform(voice(pitch, seconds, seed=seed), RATE)


def kinds(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["kind"], row["status"]) for row in rows]


def test_a_comparison_is_two_recordings_and_a_verdict(client: Client, rows: list[Any]) -> None:
    strict = client.rule(0.01)
    decision = client.verify(said(LOW), said(LOW, seed=1), strict)
    recording, other, verdict = rows
    assert kinds(rows) == [("recording", "ok"), ("recording", "ok"), ("verify", "inconclusive")]
    assert {row["model"] for row in rows} == {"model-1"}
    assert set(recording["values"]) == set(other["values"])
    assert {"snr_db", "bandwidth_hz", "clipped_fraction"} <= set(recording["values"])
    assert verdict["values"] == {"distance": round(decision.distance, 4)}
    assert verdict["probability"] == round(decision.probability, 4)


def test_recordings_that_are_refused_are_shown_by_their_status(
    client: Client, rows: list[Any]
) -> None:
    with pytest.raises(SwarError, match="has too little speech"):
        client.verify(said(LOW), SILENCE)
    with pytest.raises(SwarError):
        client.embed([b"no audio"])
    assert kinds(rows) == [
        ("recording", "ok"), ("recording", "no_speech"), ("recording", "not_decoded"),
    ]  # fmt: skip
    assert [row["values"] for row in rows[1:]] == [{}, {}]


def test_who_is_enrolled_and_identified_is_not_named(
    client: Client, rows: list[Any], tmp_path: Path
) -> None:
    gallery = Gallery(tmp_path / "gallery")
    recognition.enroll(client, gallery, "Asha Thapa", [said(LOW, 8.0)])
    rows.clear()
    recognition.identify(client, gallery, said(LOW))
    recognition.identify(client, gallery, said(HIGH))
    recognition.verify_speaker(client, gallery, said(HIGH), "Asha Thapa")
    assert kinds(rows) == [
        ("recording", "ok"), ("identify", "same"),
        ("recording", "ok"), ("identify", "different"),
        ("recording", "ok"), ("verify_speaker", "different"),
    ]  # fmt: skip
    text = json.dumps(rows)
    assert "Asha" not in text
    assert "Thapa" not in text


def test_an_empty_gallery_is_a_verdict_without_a_distance(
    client: Client, rows: list[Any], tmp_path: Path
) -> None:
    gallery = Gallery(tmp_path / "gallery")
    recognition.enroll(client, gallery, "Asha", [said(LOW, 8.0)])
    gallery.forget("Asha")
    rows.clear()
    recognition.identify(client, gallery, said(LOW))
    assert kinds(rows) == [("recording", "ok"), ("identify", "different")]
    assert (rows[1]["values"], "probability" in rows[1]) == ({}, False)


def test_many_pairs_are_shown_as_they_are_answered(
    client: Client, rows: list[Any], tmp_path: Path
) -> None:
    for name, pitch in (("a", LOW), ("b", HIGH)):
        soundfile.write(tmp_path / f"{name}.wav", voice(pitch, 3.0), RATE)
    (tmp_path / "c.wav").write_bytes(b"no audio")
    paths = {name: tmp_path / f"{name}.wav" for name in "abc"}
    pairs = [bulk.Pair(paths[a], paths[b]) for a, b in ("ab", "ac", "aa")]
    rule = client.rule(prior=0.1)
    compared = list(bulk.verify_pairs(client, pairs, rule))
    assert sorted(kinds(rows)) == [
        ("recording", "not_decoded"), ("recording", "ok"), ("recording", "ok"),
        ("verify", "different"), ("verify", "same"),
    ]  # fmt: skip
    shown = [row["probability"] for row in rows if row["kind"] == "verify"]
    assert shown == [round(each.decision.probability, 4) for each in compared if each.decision]


def test_a_row_holds_four_numbers_of_an_embedding_and_no_sound(
    client: Client, rows: list[Any]
) -> None:
    (embedding,) = client.embed([said(LOW)])
    (row,) = rows
    projections = [name for name in row["values"] if name.startswith("projection")]
    assert len(projections) == 4 < len(embedding.vector)
    assert row["values"]["speech_seconds"] == pytest.approx(embedding.speech_seconds, abs=1e-4)
    assert len(json.dumps(row)) < 400
    (again,) = client.embed([said(LOW)])
    assert rows[1]["values"] == row["values"]
    assert again.status == "ok"


def test_where_nobody_watches_nothing_more_is_asked(model: FakeModel) -> None:
    with grpc_endpoint(model) as url, Client(url) as client:
        client.verify(said(LOW), said(LOW))
    assert [signature for signature, _ in model.calls] == ["describe", "serving_default"]


def test_a_log_is_appended_to_and_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "watch.jsonl"
    file.touch(0o644)
    for number in range(2):
        WatchLog(file)({"n": number})
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"n": 0}, {"n": 1}]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_log_that_was_moved_away_starts_anew(tmp_path: Path) -> None:
    log = WatchLog(tmp_path / "watch.jsonl")
    log({"n": 0})
    (tmp_path / "watch.jsonl").rename(tmp_path / "watch.jsonl.1")
    log({"n": 1})
    assert (tmp_path / "watch.jsonl").read_text() == '{"n": 1}\n'


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "watch.jsonl"
    logs = [WatchLog(file) for _ in range(4)]

    def write(log: WatchLog) -> None:
        for number in range(200):
            log({"n": number, "text": "x" * number})

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(json.loads(line)["n"] for line in file.read_text().splitlines())
    assert numbers == sorted(list(range(200)) * 4)


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match="cannot be written: Is a directory") as raised:
        WatchLog(tmp_path)
    assert "\n" not in str(raised.value)


def test_counters_are_read_by_prometheus_on_this_machine(client: Client) -> None:
    counters = WatchCounters()
    client.watchers.append(counters)
    client.verify(said(LOW), said(LOW, seed=1))
    with pytest.raises(SwarError):
        client.embed([io.BytesIO(b"no audio")])
    with counters.served(0) as port:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
        text = answer.read().decode()
    assert 'swar_recordings_total{status="ok"} 2.0' in text
    assert 'swar_recordings_total{status="not_decoded"} 1.0' in text
    assert 'swar_decisions_total{kind="verify",verdict="same"} 1.0' in text


def _with_status(status: list[bytes], outputs: dict[str, Any]) -> dict[str, Any]:
    return {**outputs, "status": status}


def test_a_status_that_no_model_gives_is_one_of_all_the_others(
    client: Client, model: FakeModel, rows: list[Any]
) -> None:
    """An endpoint that answers another one each time would fill the metrics, and the log."""
    counters = WatchCounters()
    client.watchers.append(counters)
    for number in range(3):
        status = [f"{number}".encode() * 100_000]
        model.spoil = partial(_with_status, status)
        client.embed([said(LOW)])
    assert {row["status"] for row in rows} == {"other"}
    text = generate_latest(counters.registry).decode()
    assert 'swar_recordings_total{status="other"} 3.0' in text
    assert len(text) < 2_000


def test_every_status_of_the_served_model_is_known() -> None:
    from components.model import recordings  # imports TensorFlow

    served = {value for name, value in vars(recordings).items() if name.isupper()}
    statuses = {value for value in served if isinstance(value, str)}
    assert statuses == watching._STATUSES - {watching.NOT_DECODED}


def test_silent_connections_to_the_counters_are_few_and_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_counters, "_CONNECTION_SECONDS", 0.5)
    before = threading.active_count()
    with WatchCounters().served(0) as port, contextlib.ExitStack() as stack:
        for _ in range(100):
            silent = socket.create_connection(("127.0.0.1", port), 10)
            stack.enter_context(silent).sendall(b"GET")
        assert threading.active_count() < before + 40  # a thread and a timer each
        ends_at = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as read:
                    assert b"swar_recordings" in read.read()
                break
            except OSError:
                assert time.monotonic() < ends_at
                time.sleep(0.1)
