"""Fixtures that every test can use."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

import components.compat.beam_worker  # noqa: F401 - lets TFDV be imported, whichever test comes first

# How long an example takes says more about the machine's load than about the code.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"


END_TO_END = "tests/e2e/"


class _OneWorkerEndToEnd(LoadFileScheduling):
    """A file goes to one worker; all of the tests of whole runs do, which share a run."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return END_TO_END if file.startswith(END_TO_END) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """How the tests are spread."""
    return _OneWorkerEndToEnd(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of whole runs are first: they take one worker longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


@pytest.fixture(scope="session", autouse=True)
def environment_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees or writes the gallery of the user who runs it, or calls that user's server."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data_home")))
        for name in ("SWAR_MODEL", "SWAR_URL", "SWAR_GALLERY"):
            monkeypatch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def shared_speech() -> Path:
    """The folder of real speech, one folder for each data set; skips where it is missing."""
    if not SHARED_SPEECH.is_dir():
        pytest.skip("needs real speech in ../shared/speech beside the repository")
    return SHARED_SPEECH
