"""What a run writes is for its user alone, but for what is published."""

import os
import stat
from pathlib import Path

from components.pusher.publish import publish
from pipeline.output.folder import claimed


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_what_a_run_wrote_before(tmp_path: Path) -> None:
    output = tmp_path / "output"
    for name in ("artifacts", "checkpoints", "published", "logs"):
        (output / name).mkdir(parents=True)
    (output / "metadata.sqlite").touch()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (output / "link").symlink_to(outside)
    for path in (output, *output.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with claimed(output):
        pass
    assert _mode(output) == 0o711  # published models are reached through it
    assert _mode(output / "published") == 0o755
    assert {_mode(output / name) for name in ("artifacts", "checkpoints", "logs")} == {0o700}
    assert {_mode(output / name) for name in ("metadata.sqlite", ".lock")} == {0o600}
    assert _mode(outside) == 0o755


def test_a_server_of_another_user_reads_what_is_published(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        model = tmp_path / "model"
        (model / "variables").mkdir(parents=True)
        (model / "saved_model.pb").touch()
        (model / "variables" / "variables.index").touch()
        version = Path(publish(str(model), str(tmp_path / "published")))
    finally:
        os.umask(umask)
    assert {_mode(path) for path in (version.parent, version, version / "variables")} == {0o755}
    files = (version / "saved_model.pb", version / "variables" / "variables.index")
    assert {_mode(path) for path in files} == {0o644}
