"""Recordings whose header or first part is not all of them are read whole, or it is said."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components import audio
from components.decoding import extent
from components.decoding.headers import FileBytes
from components.decoding.tracks import TrackSound, track_sound
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
SPEECH = speech_like(1, RATE, 4.0)
WAV = encoded(SPEECH, RATE)
HALVES = encoded(SPEECH[: 2 * RATE], RATE), encoded(SPEECH[2 * RATE :], RATE)


def joined(container: str, *options: str) -> bytes:
    return b"".join(by_ffmpeg(half, container, *options) for half in HALVES)


def with_frames(mp3: bytes, change: float) -> bytes:
    """The MP3 with another number of frames in its Xing header."""
    at = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    (frames,) = struct.unpack(">I", mp3[at : at + 4])
    return mp3[:at] + struct.pack(">I", round(change * frames)) + mp3[at + 4 :]


def by_ffmpeg_to_file(*options: str, tmp_path: Path, container: str = "mp3") -> bytes:
    """Written to a file: into a pipe, ffmpeg cannot go back to fill in the header."""
    import subprocess

    import imageio_ffmpeg

    path = tmp_path / f"whole.{container}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", *options, str(path)]
    subprocess.run(command, input=WAV, check=True)
    content = path.read_bytes()
    path.unlink()
    return content


def decoded(tmp_path: Path, content: bytes) -> np.ndarray:
    path = tmp_path / "a"
    path.write_bytes(content)
    return audio.decode(path, sample_rate=RATE)


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("ogg", ("-c:a", "libvorbis")),
        ("ogg", ("-c:a", "libopus")),
        ("ogg", ("-c:a", "flac")),
        ("flac", ()),
        ("mp3", ("-q:a", "4")),
        ("mp3", ("-b:a", "64k")),
        ("adts", ("-c:a", "aac")),
    ],
)
def test_joined_recordings_are_read_to_the_last(
    tmp_path: Path, container: str, options: tuple[str, ...]
) -> None:
    samples = decoded(tmp_path, joined(container, *options))
    assert 3.95 <= len(samples) / RATE <= 4.3
    end = samples[-RATE:]
    best = np.max(np.abs(np.correlate(SPEECH[-2 * RATE :].astype(np.float32), end[:8_000])))
    assert best / (np.linalg.norm(end[:8_000]) * np.linalg.norm(SPEECH[-RATE:])) > 0.3


ID3V1 = b"TAG" + bytes(125)
APEV2 = b"APETAGEX" + struct.pack("<IIII8x", 2_000, 52, 1, 0xA000_0000) + bytes(20)
APEV2 += b"APETAGEX" + struct.pack("<IIII8x", 2_000, 52, 1, 0x8000_0000)
ID3V2 = b"ID3\x03\x00\x00\x00\x00\x20\x00" + bytes(4_096)


@pytest.mark.parametrize("tags", [ID3V1, APEV2, APEV2 + ID3V1, ID3V2, ID3V1 + ID3V2], ids=len)
@pytest.mark.parametrize("options", [("-q:a", "4"), ("-b:a", "64k")])
def test_mp3s_joined_with_their_tags_are_read_to_the_last(
    tmp_path: Path, tags: bytes, options: tuple[str, ...]
) -> None:
    content = by_ffmpeg_to_file(*options, tmp_path=tmp_path)
    assert 8.0 <= len(decoded(tmp_path, content + tags + content + tags)) / RATE <= 8.3
    assert len(decoded(tmp_path, content + tags)) == len(SPEECH)


def test_three_links_of_a_chain_are_read_and_a_last_one_that_breaks_off_is_told(
    tmp_path: Path,
) -> None:
    for codec in ("libopus", "libvorbis"):
        link = by_ffmpeg(WAV, "ogg", "-c:a", codec)
        assert 11.95 <= len(decoded(tmp_path, 3 * link)) / RATE <= 12.1
        for cut in (500, len(link) // 2):
            with pytest.raises(audio.AudioError) as caught:
                decoded(tmp_path, link + link[:-cut])
            assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0, 8.0, 20.0])
def test_a_chain_of_ogg_flac_is_read_whatever_ffmpeg_says_of_its_end(
    tmp_path: Path, seconds: float
) -> None:
    parts = [encoded(speech_like(seed, RATE, seconds), RATE) for seed in (3, 4, 5)]
    chain = b"".join(by_ffmpeg(part, "ogg", "-c:a", "flac") for part in parts)
    assert len(decoded(tmp_path, chain)) / RATE == pytest.approx(3.0 * seconds, abs=0.1)


def test_an_mp3_header_without_a_number_of_frames_is_not_believed(tmp_path: Path) -> None:
    content = by_ffmpeg_to_file("-q:a", "4", tmp_path=tmp_path)
    at = content.find(b"Xing") + 4
    for flags, size in ((2, len(content)), (2, len(content) // 2), (0, 0)):
        header = struct.pack(">III", flags, size, 0)
        assert (
            4.0 <= len(decoded(tmp_path, content[:at] + header + content[at + 12 :])) / RATE < 4.2
        )


@pytest.mark.parametrize("change", [0.0, 0.5, 1.0])
def test_fraunhofers_header_is_believed_no_more_than_lames(tmp_path: Path, change: float) -> None:
    content = by_ffmpeg_to_file("-q:a", "4", "-id3v2_version", "0", tmp_path=tmp_path)
    first = extent._mpeg_frame(content[:4])
    assert first is not None
    frames = struct.unpack(">I", content[content.find(b"Xing") + 8 :][:4])[0]
    vbri = b"VBRI" + struct.pack(
        ">HHHIIHHHH", 1, 0, 75, len(content), round(change * frames), 0, 1, 2, 1
    )
    header = content[:4] + bytes(32) + vbri
    assert (
        4.0
        <= len(decoded(tmp_path, header.ljust(first.size, b"\0") + content[first.size :])) / RATE
        < 4.2
    )


def test_joined_flacs_behind_a_tag_are_read_to_the_last(tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
    assert 3.95 <= len(decoded(tmp_path, tag + joined("flac"))) / RATE <= 4.05


def test_of_tracks_that_are_all_silent_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = encoded(np.zeros(len(SPEECH)), RATE)
    content = by_ffmpeg(silent, "matroska", "-map", "0:a", "-map", "0:a", "-c:a", "flac")
    assert not decoded(tmp_path, content).any()
    assert "of its 2 audio tracks number 1 is used: all of them are silent" in caplog.text


def test_joined_recordings_that_ffmpeg_cannot_go_on_with_are_truncated(tmp_path: Path) -> None:
    parts = [encoded(SPEECH, RATE, "FLAC", kind) for kind in ("PCM_24", "PCM_16")]
    with pytest.raises(audio.AudioError, match="switching bps mid-stream") as caught:
        decoded(tmp_path, b"".join(parts))
    assert caught.value.reason == audio.TRUNCATED


OTHER_RATE = encoded(speech_like(2, 8_000, 2.0), 8_000)
OTHER_CHANNELS = encoded(np.stack([SPEECH, SPEECH], axis=1), RATE)


@pytest.mark.parametrize(
    ("codec", "wav", "other"),
    [
        ("libopus", WAV, "libvorbis"),
        ("libvorbis", WAV, "flac"),
        ("flac", WAV, "libopus"),
        ("libvorbis", OTHER_RATE, "libvorbis"),
        ("libvorbis", OTHER_CHANNELS, "libvorbis"),
        ("libopus", OTHER_CHANNELS, "libopus"),
    ],
)
def test_links_of_an_ogg_chain_that_ffmpeg_cannot_go_on_with_are_told(
    tmp_path: Path, codec: str, wav: bytes, other: str
) -> None:
    parts = [by_ffmpeg(WAV, "ogg", "-c:a", codec), by_ffmpeg(wav, "ogg", "-c:a", other)]
    with pytest.raises(audio.AudioError, match="breaks off") as caught:
        decoded(tmp_path, b"".join(parts))
    assert caught.value.reason == audio.TRUNCATED


def by_soundfile(container: str) -> bytes:
    """Stereo, where the format may have it."""
    rate, subtype = (8_000, "ALAW") if container == "WVE" else (RATE, None)
    samples = SPEECH if container == "WVE" else np.stack([SPEECH, SPEECH], axis=1)
    return encoded(samples, rate, container, subtype)


@pytest.mark.parametrize("container", ["AVR", "MAT4", "MAT5", "MPC2K", "VOC", "WVE"])
def test_a_file_with_less_than_its_header_tells_is_truncated(
    tmp_path: Path, container: str
) -> None:
    content = by_soundfile(container)
    assert len(decoded(tmp_path, content)) >= len(SPEECH)
    for share in (0.5, 0.95):
        with pytest.raises(audio.AudioError) as caught:
            decoded(tmp_path, content[: round(share * len(content))])
        assert caught.value.reason == audio.TRUNCATED


@pytest.mark.parametrize("container", ["tta", "wv"])
def test_what_ffmpeg_reads_less_of_than_its_header_counts_is_truncated(
    tmp_path: Path, container: str
) -> None:
    content = by_ffmpeg_to_file(tmp_path=tmp_path, container=container)
    assert len(decoded(tmp_path, content)) == len(SPEECH)
    path = tmp_path / "half"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(audio.AudioError, match="of the 4 s that it declares") as caught:
        audio.decode(path, sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED
    assert len(audio.decode(path, sample_rate=RATE, end_seconds=0.5)) == RATE // 2


def with_noise(content: bytes) -> bytes:
    """The file with random bytes over 35 to 75 % of it."""
    start, end = round(0.35 * len(content)), round(0.75 * len(content))
    return content[:start] + np.random.default_rng(1).bytes(end - start) + content[end:]


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mka", "flac"), ("webm", "libopus"), ("mkv", "libvorbis"), ("mka", "libmp3lame"),
        ("wma", "wmav2"), ("m4b", "alac"), ("m4a", "aac"),
    ],
)  # fmt: skip
def test_what_lost_its_middle_to_damage_is_told(tmp_path: Path, container: str, codec: str) -> None:
    content = by_ffmpeg_to_file("-c:a", codec, tmp_path=tmp_path, container=container)
    assert 3.9 <= len(decoded(tmp_path, content)) / RATE <= 4.1
    (tmp_path / "damaged").write_bytes(with_noise(content))
    with pytest.raises(audio.AudioError, match=r"breaks off|of the 4[.0-9]* s that") as caught:
        audio.decode(tmp_path / "damaged", sample_rate=RATE)
    assert caught.value.reason == audio.TRUNCATED
    # What lies in front of the damage can be read.
    part = audio.decode(tmp_path / "damaged", sample_rate=RATE, end_seconds=0.5)
    assert len(part) == RATE // 2


@pytest.mark.parametrize("container", ["3gp", "amr"])
def test_pauses_that_a_phone_left_out_are_no_damage(tmp_path: Path, container: str) -> None:
    """ffmpeg calls them corrupt, and gives nothing for them."""
    pauses = "volume=enable='lt(mod(t,2),1)':volume=0"
    options = ("-af", pauses, "-ar", "8000", "-c:a", "libopencore_amrnb", "-dtx", "1")
    content = by_ffmpeg_to_file(*options, tmp_path=tmp_path, container=container)
    assert 2.0 <= len(decoded(tmp_path, content)) / RATE <= 3.5


@pytest.mark.parametrize("longer_frames", ["another rate", "the same rate"])
def test_joined_flacs_of_which_the_next_has_longer_frames_are_truncated(
    tmp_path: Path, longer_frames: str
) -> None:
    short = by_ffmpeg(WAV, "flac", "-frame_size", "512")
    rate = ("-ar", "44100") if longer_frames == "another rate" else ()
    long = by_ffmpeg(WAV, "flac", "-frame_size", "4096", *rate)
    assert 7.9 <= len(decoded(tmp_path, long + short)) / RATE <= 8.1
    with pytest.raises(audio.AudioError, match="breaks off: ffmpeg says 'blocksize 4096 > 512'"):
        decoded(tmp_path, short + long)


def test_a_voc_in_blocks_is_read_without_what_stands_between_them(tmp_path: Path) -> None:
    content = by_ffmpeg(WAV, "voc")
    np.testing.assert_array_equal(decoded(tmp_path, content), decoded(tmp_path, WAV))
    with pytest.raises(audio.AudioError, match="breaks off"):
        decoded(tmp_path, content[:60_000])


@pytest.mark.parametrize("change", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("options", [("-q:a", "4"), ("-b:a", "64k")])
def test_an_mp3_header_that_says_too_little_is_not_believed(
    tmp_path: Path, change: float, options: tuple[str, ...]
) -> None:
    content = by_ffmpeg_to_file(*options, tmp_path=tmp_path)
    samples = decoded(tmp_path, with_frames(content, change))
    assert 4.0 <= len(samples) / RATE <= 4.15
    # In one piece: nothing is missing where the header says that the end is.
    matches = np.correlate(samples, SPEECH.astype(np.float32), "valid")
    start = int(np.argmax(matches))
    piece = samples[start : start + len(SPEECH)]
    assert matches[start] > 0.98 * np.linalg.norm(piece) * np.linalg.norm(SPEECH)


def test_an_mp3_header_that_is_right_is_believed(tmp_path: Path) -> None:
    for options in (("-q:a", "4"), ("-b:a", "32k", "-ac", "2"), ("-ar", "44100"), ("-ar", "8000")):
        path = tmp_path / "a.mp3"
        path.write_bytes(by_ffmpeg_to_file(*options, tmp_path=tmp_path))
        with path.open("rb") as file:
            content = FileBytes(file)
            start = extent._behind_tags(content, 0)
            first, *rest = extent._mpeg_frames(content, start)
            declared = extent._declared_mp3_frames(content.at(start, 2_048), first.side_bytes)
            assert declared == len(rest)
            assert extent._mp3_is_as_declared(content)


def test_an_mp3_header_that_says_too_much_is_truncated(tmp_path: Path) -> None:
    content = by_ffmpeg_to_file("-q:a", "4", tmp_path=tmp_path)
    with pytest.raises(audio.AudioError) as caught:
        decoded(tmp_path, with_frames(content, 2.0))
    assert caught.value.reason == audio.TRUNCATED


NOISE = np.random.default_rng(0).standard_normal(len(SPEECH))
HUM: np.ndarray = np.sum(
    [np.sin(2 * np.pi * 50 * k * np.arange(len(SPEECH)) / RATE) / k for k in range(1, 6)], axis=0
)
MINUS_50_DBFS = 10 ** (-50 / 20)
FADED = np.concatenate([np.zeros(RATE), NOISE[RATE:]])
CLICK = np.where(np.arange(len(SPEECH)) // 160 == 200, 0.9, 0.0)
WITHOUT_SPEECH = {
    "silence": 0 * SPEECH,
    "mains hum": MINUS_50_DBFS * HUM,
    "hiss": MINUS_50_DBFS * NOISE,
    "loud hiss": 0.1 * NOISE,
    "rumble": 0.002 * np.cumsum(NOISE - NOISE.mean()),
    "hiss that begins": MINUS_50_DBFS * FADED,
    "hum and a click": MINUS_50_DBFS * HUM + CLICK,
    "a tone": 0.1 * np.sin(2 * np.pi * 1_000 * np.arange(len(SPEECH)) / RATE),
    "DC": 0.3 + 0 * SPEECH,
    "dither": np.sign(NOISE) / 32_768,
}
FRAGMENTS = ("-movflags", "frag_keyframe+empty_moov")
FIRST_IS_DEFAULT = ("-disposition:a:0", "default", "-disposition:a:1", "0")
SECOND_IS_DEFAULT = ("-disposition:a:0", "0", "-disposition:a:1", "default")


def tracks(tmp_path: Path, first: np.ndarray, container: str, *options: str) -> bytes:
    """Two tracks: the samples, and SPEECH."""
    path = tmp_path / "first.wav"
    path.write_bytes(encoded(first, RATE, subtype="FLOAT"))
    return by_ffmpeg(WAV, container, "-i", str(path), "-map", "1:a", "-map", "0:a", *options)


@pytest.mark.parametrize(
    ("name", "container", "options"),
    [
        *((name, "matroska", ("-c:a", "flac")) for name in WITHOUT_SPEECH),
        *(
            (name, *written)
            for name in ("silence", "mains hum", "hiss")
            for written in (
                ("matroska", ("-c:a", "libopus", "-b:a", "24k", *FIRST_IS_DEFAULT)),
                ("mp4", ("-c:a", "aac", *FIRST_IS_DEFAULT, *FRAGMENTS)),
                ("mov", ("-c:a", "pcm_s16le", "-ac:a:0", "2", *SECOND_IS_DEFAULT, *FRAGMENTS)),
                ("mpegts", ("-c:a", "aac")),
            )
        ),
    ],
)
def test_of_several_tracks_the_one_with_speech_is_read_and_it_is_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    container: str,
    options: tuple[str, ...],
) -> None:
    samples = decoded(tmp_path, tracks(tmp_path, WITHOUT_SPEECH[name], container, *options))
    matches = np.correlate(samples, SPEECH[:RATE].astype(np.float32), "valid")
    at = int(np.argmax(matches))
    piece = samples[at : at + RATE]
    assert matches[at] > 0.9 * np.linalg.norm(piece) * np.linalg.norm(SPEECH[:RATE])
    assert "of its 2 audio tracks number 2 is used: the first with speech" in caplog.text


def test_of_two_tracks_that_speak_the_default_one_is_read(tmp_path: Path) -> None:
    quiet = 0.01 * speech_like(2, RATE, 4.0) + 0.0003 * NOISE
    marks = {"first": FIRST_IS_DEFAULT, "second": SECOND_IS_DEFAULT, "none": ()}
    peaks = {
        name: np.max(np.abs(decoded(tmp_path, tracks(tmp_path, quiet, "matroska", *options))))
        for name, options in marks.items()
    }
    assert peaks["first"] == peaks["none"] < 0.02
    assert peaks["second"] > 0.4


def test_where_nobody_speaks_the_first_track_that_is_not_silent_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "hum.wav"
    path.write_bytes(encoded(MINUS_50_DBFS * HUM, RATE))
    options = ("-i", str(path), "-map", "0:a", "-map", "1:a", "-c:a", "flac")
    silent = encoded(np.zeros(len(SPEECH)), RATE)
    assert decoded(tmp_path, by_ffmpeg(silent, "matroska", *options)).any()
    assert "number 2 is used: the first that is not silent, and none has speech" in caplog.text


def test_a_second_track_may_speak_late_and_on_one_side_alone(tmp_path: Path) -> None:
    path = tmp_path / "first.wav"
    path.write_bytes(encoded(np.tile(MINUS_50_DBFS * NOISE, 20), RATE))
    late = np.concatenate([np.zeros(60 * RATE), SPEECH])
    wav = encoded(np.stack([0.1 * np.resize(NOISE, len(late)), late], axis=1), RATE)
    options = ("-i", str(path), "-map", "1:a", "-map", "0:a", "-c:a", "flac")
    samples = decoded(tmp_path, by_ffmpeg(wav, "matroska", *options))
    assert len(samples) == len(late)


@pytest.mark.parametrize("name", ["hyke", "librispeech_1utt", "speech_commands"])
def test_people_speak(shared_speech: Path, name: str) -> None:
    clips = sorted((shared_speech / name).glob("*/*.*"))[::40]
    assert len(clips) > 5
    silent = []
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        seconds = (samples[start : start + rate] for start in range(0, len(samples), rate))
        if track_sound(seconds, rate) != TrackSound.SPEECH:
            silent.append(clip.name)
    assert len(silent) <= 0.1 * len(clips), silent
