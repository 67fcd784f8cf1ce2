"""The Beam components in two worker processes."""

from pathlib import Path

import pytest

from components import features
from pipeline import pipeline
from pipeline.failures import RunFailed
from pipeline.local import runner
from tests.e2e.conftest import Run
from tests.e2e.support_runs import Store, counted, digests, split_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the artifacts lie of a run that its schema ends before the training."""
    folder = tmp_path_factory.mktemp("two_workers")
    impossible = folder / "impossible.pbtxt"
    more = 'feature { name: "never_there" presence { min_count: 1 } }\n'
    impossible.write_text(pipeline.PAIR_SCHEMA.read_text() + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "PAIR_SCHEMA", impossible)
        with pytest.raises(RunFailed, match=r"the data contradict the schema: .*never_there"):
            runner.run(
                finished.config, data=str(finished.data), output=folder / "output", beam_workers=2
            )
    outputs = Store(folder / "output").outputs()
    return {key: Path(outputs[key].uri) for key in ("speech", "rejects", "pairs", "statistics")}


@pytest.fixture(scope="module")
def by_one(finished: Run) -> dict[str, Path]:
    """The same of the finished run, which had one worker."""
    return {key: Path(item.uri) for key, item in Store(finished.output).outputs().items()}


@pytest.mark.parametrize("key", ["speech", "rejects", "pairs"])
def test_two_workers_write_the_bytes_that_one_writes(
    prepared: dict[str, Path], by_one: dict[str, Path], key: str
) -> None:
    assert digests(prepared[key]) == digests(by_one[key])


@pytest.mark.parametrize("key", ["speech", "pairs"])
def test_there_is_work_for_two(by_one: dict[str, Path], key: str) -> None:
    assert max(len(files) for files in split_files(by_one[key]).values()) > 1


def test_two_workers_count_what_one_counts(
    prepared: dict[str, Path], by_one: dict[str, Path]
) -> None:
    ours, theirs = (split_files(found["statistics"]) for found in (prepared, by_one))
    assert set(ours) == set(features.PAIR_SPLITS)
    for split, (path,) in ours.items():
        found = counted(path)
        assert set(found) > {features.LABEL, "spectrogram_a", "level_dbfs_b"}
        assert found == counted(theirs[split][0])
