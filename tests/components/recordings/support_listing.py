"""Files to list, and what became of them."""

from pathlib import Path

from components.recordings.sources import Listing


def outcomes(listing: Listing) -> dict[str, str]:
    recordings = {recording.recording: "ok" for recording in listing.recordings}
    return recordings | {reject.file: reject.reason for reject in listing.rejects}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"sound")
