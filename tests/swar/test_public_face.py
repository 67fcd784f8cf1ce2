"""What a notebook imports: present, documented, and imported only when it is asked for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import swar
from tests.swar.support_pairs import MELS, write_pair


def test_importing_swar_loads_no_library_that_takes_long() -> None:
    heavy = "('tensorflow', 'tfx', 'apache_beam', 'pyarrow', 'pandas', 'lancedb', 'grpc')"
    code = f"import sys, swar; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", swar.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert name in dir(swar)
    assert getattr(swar, name).__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'swar' has no attribute 'train'"):
        _ = swar.train


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(swar.SwarError, match="nothing-here"):
        swar.load(tmp_path / "nothing-here")


def test_pairs_of_the_newest_run_are_read_as_arrays(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts" / "SpectrogramPairGen" / "pairs"
    write_pair(artifacts / "9" / "Split-eval" / "data", "eval", 0)
    of_train = write_pair(artifacts / "12" / "Split-train" / "data", "train", 1)
    of_eval = write_pair(artifacts / "12" / "Split-eval" / "data", "eval", 2)
    pairs = list(swar.read_pairs(tmp_path, n_mels=MELS).as_numpy_iterator())
    assert [pair["split"] for pair in pairs] == [b"eval", b"train"]
    for pair, windows in zip(pairs, (of_eval, of_train), strict=True):
        np.testing.assert_array_equal(pair["spectrogram_a"], windows[0])
        np.testing.assert_array_equal(pair["spectrogram_b"], windows[1])
    assert (pairs[1]["label"], pairs[1]["start_seconds_a"], pairs[1]["speaker_b"]) == (
        1,
        0.5,
        b"Sita",
    )
    (alone,) = swar.read_pairs(artifacts / "12", "train", n_mels=MELS).as_numpy_iterator()
    assert alone["pair_id"] == b"1"


def test_a_folder_without_such_pairs_is_named(tmp_path: Path) -> None:
    write_pair(tmp_path / "Split-eval" / "data", "eval", 0)
    with pytest.raises(swar.SwarError, match=r"has no pairs of the split 'train': name an output"):
        swar.read_pairs(tmp_path, "train")
