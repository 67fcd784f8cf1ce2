"""The data must be those that the run was started for."""

import pytest

from components.errors import SwarError
from components.recordings.sources import data_digest, list_recordings
from components.settings import SpeechSettings
from components.speech_example_gen.executor import Executor


def test_data_of_another_digest_stop_the_run(tmp_path) -> None:
    (tmp_path / "asha").mkdir()
    (tmp_path / "asha" / "a.wav").write_bytes(b"RIFF")
    properties = {
        "data": str(tmp_path),
        "data_digest": data_digest(list_recordings(str(tmp_path))),
        "settings": SpeechSettings().model_dump_json(),
    }
    (tmp_path / "asha" / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(SwarError, match=r"is not as it was when the run was started: start again"):
        Executor().Do({}, {}, properties)
