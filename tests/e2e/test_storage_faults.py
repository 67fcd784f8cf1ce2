"""A disk that is full, or must not be written: one line, nothing half-written taken for whole."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.errors import SwarError
from components.spectrogram_pair_gen.executor import Executor as PairExecutor
from tests.e2e.conftest import Run
from tests.e2e.support_runs import PUSHER, SPEECH, Ended, Store, arguments, digests

pytestmark = pytest.mark.slow
Mount = Callable[[Path, str], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Puts a file system of its own at a folder, with these options; again to change them."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        again = ["-o", f"remount,{options}"] if folder in mounted else ["-o", options]
        made = subprocess.run(
            ["mount", "-t", "tmpfs", *again, "tmpfs", str(folder)], capture_output=True
        )
        if made.returncode:
            pytest.skip("needs the right to mount a file system")
        mounted.append(folder)

    yield mount
    for folder in dict.fromkeys(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _assert_told(ended: Ended, component: str, *words: str) -> None:
    assert ended.status == 2
    assert ended.states()[component] == "failed"
    (line,) = ended.err.splitlines()
    assert line.startswith("swar: error: ")
    assert [word for word in (*words, "start again") if word not in line] == []


def test_a_disk_that_gets_full_while_speech_is_written(
    finished: Run,
    swar: Callable[[list[str]], Ended],
    mount: Mount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "disk" / "output"
    output.parent.mkdir()
    mount(output.parent, "size=1m")
    argv = arguments(finished.data, output)
    _assert_told(swar(argv), SPEECH, f"no space is left on the disk of {output}")
    assert list(output.glob("artifacts/SpeechExampleGen/speech/*")) == []

    mount(output.parent, "size=64m")

    def enough(*_: object) -> None:
        raise SwarError("enough seen: go on")

    monkeypatch.setattr(PairExecutor, "Do", enough)
    ended = swar(argv)
    assert ended.err == "swar: error: enough seen: go on\n"
    assert ended.states()[SPEECH] == "done"
    (speech,) = output.glob("artifacts/SpeechExampleGen/speech/*")
    assert digests(speech) == digests(Path(Store(finished.output).outputs()["speech"].uri))


def test_a_model_that_cannot_be_published_is_published_later(
    finished: Run, rerun: Callable[..., Ended], mount: Mount
) -> None:
    judged_anew = "evaluator.max_eer_eval=0.46"  # so that the Pusher has work
    published = finished.published.parent
    aside = published.with_name("aside")
    published.rename(aside)
    published.write_text("mine")
    _assert_told(rerun(judged_anew), PUSHER, f"cannot write {published}")
    assert published.read_text() == "mine"

    published.unlink()
    published.mkdir()
    mount(published, "ro,size=64k")
    _assert_told(rerun(judged_anew), PUSHER, f"cannot write {published}", "Read-only file system")
    mount(published, "rw,size=64k")
    _assert_told(rerun(judged_anew), PUSHER, "no space is left")
    assert [path for path in published.iterdir() if path.name.isdecimal()] == []

    mount(published, "rw,size=64m")
    ended = rerun(judged_anew)
    assert (ended.status, ended.err, ended.states()[PUSHER]) == (0, "", "done")
    (version,) = published.iterdir()
    assert digests(version) == digests(aside / finished.published.name)
