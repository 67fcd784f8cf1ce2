from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.dsl.io import fileio
from tfx.orchestration.portable.outputs_utils import remove_output_dirs
from tfx.types.standard_artifacts import Model

from components.errors import SwarError
from pipeline.failures import RunFailed, executor_error, file_error, storage_error, user_error
from pipeline.local.beam import beam_arguments


def _raised(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception:
            raise RuntimeError("execution 3 failed")  # noqa: B904 - a context, as TFX leaves it
    except RuntimeError as error:
        return error


def test_it_is_found_as_itself_as_cause_and_as_context() -> None:
    fault = SwarError("no speech in a.wav")
    wrapped = RunFailed("SpeechExampleGen", fault, Path("a.log"))
    wrapped.__cause__ = _raised(fault)
    for error in (fault, _raised(fault), wrapped):
        assert user_error(error) == "no speech in a.wav"


def test_one_that_was_handled_is_not_told() -> None:
    error = RuntimeError("other")
    error.__context__ = SwarError("handled")
    error.__suppress_context__ = True
    assert user_error(error) is None


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert user_error(one) is None


def test_it_is_told_in_one_line() -> None:
    assert user_error(SwarError("a\nb \x1b[31mc")) == "a b  [31mc"


def _reject(_: int) -> None:
    raise SwarError("a.wav: not audio, remove it")


def _beam_error(workers: int) -> str | None:
    with (
        pytest.raises(Exception, match="not audio") as raised,
        beam.Pipeline(options=PipelineOptions(beam_arguments(workers))) as pipeline,
    ):
        _ = pipeline | beam.Create([1]) | beam.Map(_reject)
    return user_error(raised.value)


def test_beams_additions_are_removed() -> None:
    assert _beam_error(workers=1) == "a.wav: not audio, remove it"


@pytest.mark.slow
def test_it_is_found_in_the_text_of_a_worker_processs_traceback() -> None:
    # Four: some are still starting when the first one fails.
    assert _beam_error(workers=4) == "a.wav: not audio, remove it"


def test_an_unexpected_error_names_component_error_and_log() -> None:
    error = RunFailed("Trainer", ValueError("bad\nshape"), Path("/out/logs/a.log"))
    assert (
        str(error) == "Trainer failed (ValueError: bad shape); the traceback is in /out/logs/a.log"
    )
    assert user_error(error) is None


def test_the_executors_error_is_told_where_its_outputs_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What access(2) does not reach is no folder to TensorFlow: it is removed as a file.
    monkeypatch.setattr(fileio, "isdir", lambda path: False)
    model = Model()
    model.uri = str(tmp_path)
    try:
        try:
            raise ValueError("no such window")
        except ValueError:
            remove_output_dirs({"model": [model]})
    except Exception as error:
        assert "Is a directory" in str(error)
        assert str(executor_error(error)) == "no such window"
        other = _raised(error)
        assert executor_error(other) is other
    else:
        pytest.fail("nothing was raised")


def test_a_library_that_is_not_installed_is_named_with_the_remedy() -> None:
    message = user_error(ModuleNotFoundError("No module named 'tfx'", name="tfx"))
    assert message is not None
    assert "'tfx' is not installed" in message
    assert "`make`" in message
    assert user_error(ImportError("cannot import name 'x'")) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "no space is left on the disk of /out, or of /"),
        (RuntimeError("/out/a; No space left on device"), "no space is left"),
        (RuntimeError("Error: database or disk is full"), "no space is left"),
        (OSError(30, "Read-only file system", "/out/published/1"), "cannot write /out/published/1"),
        (RuntimeError("/out/published; Not a directory"), "cannot write /out/published (Not a"),
        (RuntimeError("attempt to write a readonly database"), "cannot write /out (attempt"),
        (PermissionError(13, "Permission denied", "/data/a.wav"), None),
        (ValueError("bad shape"), None),
    ],
)
def test_a_full_or_unwritable_disk_is_told_with_the_remedy(
    error: Exception, message: str | None
) -> None:
    found = storage_error(_raised(error), Path("/out"))
    if message is None:
        assert found is None
    else:
        assert message in str(found)
        assert str(found).endswith("and start again: what is finished is kept")


def test_a_real_full_disk_is_known() -> None:
    with pytest.raises(OSError, match="No space") as raised, Path("/dev/full").open("wb") as full:
        full.write(b"0")
        full.flush()
    assert storage_error(raised.value, Path("/out")) is not None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: Permission denied"),
        (PermissionError(13, "Permission denied", b"/root/x"), "/root/x: Permission denied"),
        (OSError(18, "Cross-device link", "/a", None, "/b"), "/a -> /b: Cross-device link"),
        (OSError(20, "Not a directory", "/a\nb"), "/a b: Not a directory"),
        (OSError(9, "Bad file descriptor", 3), None),
        (OSError(5, "Input/output error"), None),
        (OSError("bad shape"), None),
        (ValueError("bad shape"), None),
    ],
)
def test_a_file_that_cannot_be_used_is_named(error: Exception, message: str | None) -> None:
    assert file_error(error) == message


def test_a_full_disk_names_no_file_that_is_only_read() -> None:
    for error in (OSError(28, "No space left on device", "/read"), OSError(122, "Quota exceeded")):
        message = file_error(error)
        assert message is not None
        assert message.startswith("no space is left")
        assert "/read" not in message
