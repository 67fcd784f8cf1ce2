"""What is missing where a split has no same-speaker pair: said before anything is trained."""

from collections import defaultdict
from collections.abc import Iterable

from components import features
from components.errors import SwarError
from components.speech_examples import read_examples, text

_REMEDIES = {
    features.EVAL: "add speech, or lower speech.train_fraction, since eval is the rest of it",
    features.CALIBRATION: "add speech, or raise speech.calibration_speaker_fraction",
    features.UNSEEN: "add speech, or raise speech.unseen_speaker_fraction, or set it to 0",
}


def split_without_pairs(
    split: str, files: Iterable[tuple[str, str]], window_seconds: float
) -> SwarError:
    """The error of a split in which no speaker has two windows to compare.

    Args:
        split: its name.
        files: (split, `speech` file) of all splits.
        window_seconds: of the windows of that split.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, file in files:
        for example in read_examples(file):
            duration = example.features.feature[features.DURATION_SECONDS].float_list.value[0]
            seconds[text(example, features.SPEAKER)][name] += duration
    own = [by_split for by_split in seconds.values() if split in by_split]
    share = sum(by_split[split] for by_split in own) / sum(sum(each.values()) for each in own)
    most = max(sum(by_split.values()) for by_split in own)
    return SwarError(
        f"no speaker has two windows of {window_seconds:g} s in {split}: about "
        f"{2.0 * window_seconds / share:.0f} s of speech a speaker are needed, where the one with "
        f"most has {most:.0f} s: {_REMEDIES.get(split, 'add speech')}"
    )
