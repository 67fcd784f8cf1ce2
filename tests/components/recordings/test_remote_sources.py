from pathlib import Path

import pytest

from components.audio import AudioError
from components.errors import SwarError
from components.recordings.files import open_locally
from components.recordings.sources import Recording, list_recordings
from tests.support_bucket import BucketFileSystem


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    objects: dict[str, bytes] = {}
    monkeypatch.setattr(BucketFileSystem, "objects", objects)
    return objects


def test_remote_folder(bucket: dict[str, bytes]) -> None:
    root = "testbucket://b/da[t]a"
    bucket |= {
        f"{root}/SPEAKERS.tsv": b"speaker\tgender\nasha\tF\n",
        f"{root}/asha/a *.wav": b"12345",
        f"{root}/asha/deep/b.wav": b"1",
        f"{root}/asha/": b"",
        f"{root}/asha/.tmp/x": b"",
        f"{root}/bina/c.wav": b"",
        f"{root}/notes.txt": b"",
        f"{root} other/asha/z.wav": b"",
    }
    listing = list_recordings(f"{root}/")
    reasons = {reject.file: reject.reason for reject in listing.rejects}
    assert {item.recording: "ok" for item in listing.recordings} | reasons == {
        "asha/a *.wav": "ok",
        "asha/deep/b.wav": "ok",
        "asha/.tmp/x": "hidden",
        "bina/c.wav": "ok",
        "notes.txt": "outside_speaker",
    }
    first = listing.recordings[0]
    assert first == Recording(
        f"{root}/asha/a *.wav", "asha", "female", "asha/a *.wav", None, None, 5, 7.0
    )
    with pytest.raises(SwarError, match="holds no speaker's folder"):
        list_recordings("testbucket://b/empty")


def test_remote_names_are_compared_composed(bucket: dict[str, bytes]) -> None:
    table = "speaker\tgender\nJos\u00e9 \tM\nabsent\tF\n"
    bucket |= {
        "testbucket://b/SPEAKERS.tsv": table.encode(),
        "testbucket://b/Jose\u0301/a.wav": b"1",
    }
    listing = list_recordings("testbucket://b")
    (item,) = listing.recordings
    assert (item.speaker, item.gender) == ("Jos\u00e9", "male")
    assert item.recording == "Jose\u0301/a.wav"
    (reject,) = listing.rejects
    assert (reject.file, reject.reason) == ("SPEAKERS.tsv", "outside_speaker")
    assert "'absent'" in reject.detail


def test_remote_spans(bucket: dict[str, bytes]) -> None:
    root = "testbucket://b/da[t]a"
    bucket |= {
        f"{root}/2026-01-01/asha/a.wav": b"1",
        f"{root}/2026-01-02/asha/b.wav": b"1",
        f"{root}/2026-01-02/SPEAKERS.tsv": b"speaker\tgender\nasha\tF\n",
        f"{root}/2026-01-03/bina/c.wav": b"1",
        f"{root}/2026-01-xx/bina/d.wav": b"1",
        f"{root}/SPEAKERS.tsv": b"speaker\tgender\nbina\tF\n",
    }
    listing = list_recordings(f"{root}/{{YYYY}}-{{MM}}-{{DD}}", 2)
    assert [span.name for span in listing.spans] == ["2026-01-02", "2026-01-03"]
    assert {(item.recording, item.gender) for item in listing.recordings} == {
        ("2026-01-02/asha/b.wav", "female"),
        ("2026-01-03/bina/c.wav", "female"),
    }
    assert [(item.file, item.reason) for item in listing.rejects] == [
        ("2026-01-xx/bina/d.wav", "outside_span")
    ]


def test_remote_manifest(bucket: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "local.wav").write_bytes(b"sound")
    text = "path\tspeaker\na.wav\tx\ntestbucket://c/b.wav\tx\nmissing.wav\ty\n"
    text += f"{tmp_path}/local.wav\ty\n"
    bucket |= {
        "testbucket://b/m.tsv": text.encode(),
        "testbucket://b/a.wav": b"a",
        "testbucket://c/b.wav": b"bb",
    }
    listing = list_recordings("testbucket://b/m.tsv")
    assert {item.path: item.size_bytes for item in listing.recordings} == {
        "testbucket://b/a.wav": 1,
        "testbucket://c/b.wav": 2,
        str(tmp_path / "local.wav"): 5,
    }
    assert [(reject.file, reject.reason) for reject in listing.rejects] == [
        ("missing.wav", "missing")
    ]
    with pytest.raises(SwarError, match=r"absent\.csv.*cannot be read"):
        list_recordings("testbucket://b/absent.csv")


def test_open_locally_copies_what_is_remote(bucket: dict[str, bytes], tmp_path: Path) -> None:
    bucket["testbucket://b/a.wav.gz"] = b"\x1f\x8b not to be unpacked" * 100_000
    with open_locally("testbucket://b/a.wav.gz") as copy:
        assert Path(copy).read_bytes() == bucket["testbucket://b/a.wav.gz"]
    assert not Path(copy).exists()
    (tmp_path / "a.wav").write_bytes(b"sound")
    with open_locally(str(tmp_path / "a.wav")) as same:
        assert same == str(tmp_path / "a.wav")
    assert Path(same).exists()


def test_a_remote_file_is_not_copied_beyond_its_bound(bucket: dict[str, bytes]) -> None:
    bucket["testbucket://b/a.wav"] = b"x" * 3_000_000
    with open_locally("testbucket://b/a.wav", 3_000_000) as copy:
        assert Path(copy).stat().st_size == 3_000_000
    with (
        pytest.raises(AudioError, match="has more than 3 MB"),
        open_locally("testbucket://b/a.wav", 2_999_999),
    ):
        pass
