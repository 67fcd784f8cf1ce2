"""Parts of the same file that are listed more than once."""

from pathlib import Path

import pytest

from components.errors import SwarError
from components.recordings.sources import list_recordings


@pytest.mark.parametrize(
    "rows",
    [
        ("a.wav,asha,0,60", "a.wav,asha,30,90"),
        ("a.wav,asha,30,90", "a.wav,bina,0,60"),
        ("a.wav,asha,,", "a.wav,bina,80,90"),
        ("a.wav,asha,10,", "a.wav,asha,80,90"),
        ("a.wav,asha,0,100", "a.wav,asha,1,2", "a.wav,asha,3,4"),
        ("a.wav,asha,0,60", "./b/../a.wav,asha,30,90"),
        ("a.wav,asha,0,60", "b/link.wav,asha,30,90"),
        ("a.wav,asha,0,60", "b/the same file.wav,asha,30,90"),
        ("a.wav,asha,,", "b/../b/./the same file.wav,bina,30,90"),
        ("b//link.wav,asha,0,60", "b/the same file.wav,asha,30,90"),
    ],
)
def test_cuts_that_share_sound_are_refused(tmp_path: Path, rows: tuple[str, ...]) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.wav").touch()
    (tmp_path / "b/link.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "b/the same file.wav").hardlink_to(tmp_path / "a.wav")
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["path,speaker,start_seconds,end_seconds", *rows]))
    with pytest.raises(SwarError, match=r"^'.*' and '.*' overlap: correct their seconds$"):
        list_recordings(str(manifest))


def test_cuts_that_share_nothing_and_the_same_one_twice_are_listed(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "path,speaker,start_seconds,end_seconds,recording\n"
        "a.wav,asha,60,,\na.wav,asha,,60,\na.wav,asha,0,60,again\nb.wav,bina,30,90,\n"
    )
    # Which of the same is a duplicate is found when they are heard.
    assert len(list_recordings(str(manifest)).recordings) == 4
