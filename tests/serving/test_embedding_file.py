"""`swar embed`: many recordings, embedded part by part into one Parquet file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from components.errors import SwarError
from serving import embedding_file
from serving.client import Client
from serving.embedding_file import EmbeddedData, embed_data
from tests.serving.support_endpoint import BANDS, RATE, FakeModel, grpc_endpoint, voice

OK = "ok"


class Broken(Exception):
    """Ends an embedding as a kill would."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five usable recordings of two speakers, one too short, one no audio; parts of two rows."""
    monkeypatch.setattr(embedding_file, "ROWS_PER_PART", 2)
    folder = tmp_path / "data"
    for speaker, pitch in (("high", 320.0), ("low", 110.0)):
        (folder / speaker).mkdir(parents=True)
        for number in range(2):
            write(folder / speaker / f"{number}.wav", pitch, seed=number)
    write(folder / "low" / "2.wav", 110.0, seconds=3.0)
    write(folder / "low" / "3-short.wav", 110.0, seconds=1.0)
    (folder / "low" / "4-text.wav").write_text("no audio")
    return folder


def write(path: Path, pitch: float, *, seconds: float = 4.0, seed: int = 0) -> None:
    soundfile.write(path, voice(pitch, seconds, seed=seed), RATE)


@pytest.fixture
def embed(model: FakeModel, tmp_path: Path) -> Any:
    """Embeds into a file of that name, and ends as broken off after some recordings."""
    with grpc_endpoint(model) as url, Client(url) as client:

        def run(data: Any, name: str = "out.parquet", *, break_at: int | None = None) -> Any:
            def on_progress(done: int, of: int) -> None:
                if done == break_at:
                    raise Broken

            return embed_data(client, str(data), tmp_path / name, on_progress)

        yield run


Embed = Callable[..., EmbeddedData]


def requests(model: FakeModel) -> int:
    return sum(count for signature, count in model.calls if signature == "embed")


def test_every_recording_is_a_row(embed: Embed, data: Path, tmp_path: Path) -> None:
    summary = embed(data)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["recording"], row["speaker"], row["status"]) for row in rows] == [
        ("high/0.wav", "high", "ok"),
        ("high/1.wav", "high", "ok"),
        ("low/0.wav", "low", "ok"),
        ("low/1.wav", "low", "ok"),
        ("low/2.wav", "low", "ok"),
        ("low/3-short.wav", "low", "too_short"),
        ("low/4-text.wav", "low", "not_audio"),
    ]
    assert {row["model_digest"] for row in rows} == {"model-1"}
    assert [row["embedding"] is None for row in rows] == [False] * 5 + [True] * 2
    assert {len(row["embedding"]) for row in rows[:5]} == {BANDS}
    assert rows[0]["speech_seconds"] == pytest.approx(4.0)
    assert rows[6]["speech_seconds"] is None
    quality = [(row["snr_db"], row["bandwidth_hz"], row["clipped_fraction"]) for row in rows]
    assert quality[6] == (None, None, None)
    assert all(snr_db > 0.0 for snr_db, _, _ in quality[:6])
    assert {(hertz, clipped) for _, hertz, clipped in quality[:6]} == {(RATE / 2, 0.0)}
    assert summary.recordings == 7
    assert summary.statuses == {"not_audio": 1, "ok": 5, "too_short": 1}


def test_the_embedding_is_the_clients(embed: Embed, data: Path, tmp_path: Path, model: Any) -> None:
    embed(data)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    with grpc_endpoint(model) as url, Client(url) as client:
        (alone,) = client.embed([data / "low" / "1.wav"])
    np.testing.assert_array_equal(np.float32(rows[3]["embedding"]), alone.vector)


def test_a_broken_off_embedding_goes_on_and_gives_the_same_bytes(
    embed: Embed, data: Path, tmp_path: Path, model: FakeModel
) -> None:
    embed(data, "whole.parquet")
    model.calls.clear()
    with pytest.raises(Broken):
        embed(data, break_at=5)
    assert not (tmp_path / "out.parquet").exists()
    parts = sorted(os.listdir(tmp_path / "out.parquet.partial"))
    assert parts == ["000000000-000000002.parquet", "000000002-000000004.parquet"]
    model.calls.clear()
    embed(data)
    assert requests(model) == 2  # low/2 and low/3-short: what was there is not embedded again
    whole, resumed = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    assert whole.read_bytes() == resumed.read_bytes()
    assert not (tmp_path / "out.parquet.partial").exists()
    model.calls.clear()
    assert embed(data).statuses["ok"] == 5
    assert requests(model) == 0  # a whole file is left as it is


def test_a_part_of_an_earlier_version_is_refused(embed: Embed, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        embed(data, break_at=5)
    part = next((tmp_path / "out.parquet.partial").iterdir())
    pq.write_table(pq.read_table(part).drop_columns(["snr_db"]), part)
    with pytest.raises(SwarError, match=r"another version of swar: remove .*out\.parquet\.partial"):
        embed(data)


def test_a_part_is_all_that_is_in_memory(
    embed: Embed, data: Path, tmp_path: Path, model: FakeModel
) -> None:
    embed(data)
    metadata = pq.read_metadata(tmp_path / "out.parquet")
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [
        2,
        2,
        2,
        1,
    ]
    assert {count for signature, count in model.calls if signature == "embed"} <= {1, 2}


@pytest.mark.parametrize("break_at", [5, None])
def test_what_another_model_made_is_refused(
    embed: Embed, data: Path, tmp_path: Path, model: FakeModel, break_at: int | None
) -> None:
    if break_at is None:
        embed(data)
    else:
        with pytest.raises(Broken):
            embed(data, break_at=break_at)
    model.digest = "model-2"
    with pytest.raises(
        SwarError, match=r"is of another model \(digest model-1, not model-2\)"
    ) as raised:
        embed(data)
    of = tmp_path / ("out.parquet" if break_at is None else "out.parquet.partial")
    assert f"remove {of}, or name another --output" in str(raised.value)
    assert "(digest model-1, not model-2)" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_was_made_of_other_recordings_is_refused(embed: Embed, data: Path) -> None:
    with pytest.raises(Broken):
        embed(data, break_at=7)
    (data / "low" / "4-text.wav").unlink()
    with pytest.raises(SwarError, match="is of other recordings"):
        embed(data)


def test_a_damaged_part_is_named(embed: Embed, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        embed(data, break_at=3)
    (part,) = (tmp_path / "out.parquet.partial").iterdir()
    part.write_bytes(b"")
    with pytest.raises(SwarError, match=r"cannot be read as a Parquet file: remove .*partial,"):
        embed(data)


def test_an_output_that_is_something_else_is_left_alone(
    embed: Embed, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("folder", "notes.txt"):
        with pytest.raises(SwarError, match="or name another --output"):
            embed(data, name)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_model_that_changes_meanwhile_ends_it(
    embed: Embed, data: Path, model: FakeModel, tmp_path: Path
) -> None:
    model.spoil = lambda outputs: {**outputs, "model_digest": [b"model-2"] * len(outputs["status"])}
    with pytest.raises(SwarError, match="another model answers at grpc://"):
        embed(data)
    assert not (tmp_path / "out.parquet").exists()


def test_two_do_not_write_one_file(embed: Embed, data: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.parquet.partial"
    with (
        embedding_file._locked(partial),
        pytest.raises(SwarError, match="another process writes"),
    ):
        embed(data)


def test_a_flat_folder_has_no_speakers(embed: Embed, data: Path, tmp_path: Path) -> None:
    (data / "low" / ".hidden").touch()
    summary = embed(data / "low")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["recording"] for row in rows][:2] == ["0.wav", "1.wav"]
    assert {row["speaker"] for row in rows} == {None}
    assert summary.left_out == {"hidden": 1}


def test_a_manifest_has_cuts_and_files_that_are_missing(
    embed: Embed, data: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "list.tsv"
    lines = ["path\tspeaker\tstart_seconds\tend_seconds", "data/low/0.wav\tLow\t1\t3"]
    manifest.write_text("\n".join([*lines, "data/gone.wav\tLow\t\t", "data/high/0.wav\tHigh\t\t"]))
    embed(manifest)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["recording"], row["status"]) for row in rows] == [
        ("data/gone.wav", "missing"),
        ("data/high/0.wav", "ok"),
        ("data/low/0.wav#1-3", "ok"),
    ]
    assert rows[2]["speech_seconds"] == pytest.approx(2.0)


def test_the_file_lies_outside_of_the_data(embed: Embed, data: Path) -> None:
    with pytest.raises(SwarError, match="name a file outside of the recordings"):
        embed(data, "data/out.parquet")


def test_data_without_recordings_are_refused(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in ("empty", "absent"):
        with pytest.raises(SwarError):
            embed(tmp_path / data)
