"""What a model makes of sounds in which nobody speaks."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from components.nonspeech import NONSPEECH, nonspeech
from components.pcm16 import pack_wav, to_pcm16
from components.verification.utterances import OK, Embedded, Model


@dataclass(frozen=True)
class NonSpeechMetrics:
    """How often sounds without speech were taken for a speaker, beside the speech of one set."""

    set: str
    duration_seconds: float
    sounds: int
    taken: int
    """As speech: with the status "ok"."""
    taken_by_kind: dict[str, int]
    """Of `components.nonspeech.TAKES` each."""
    pairs: int
    """Of two different sounds, both taken as speech."""
    same_speaker_pairs: int
    """Of these, called the same speaker at the stored threshold."""
    pairs_with_speech: int
    """Of a sound that was taken as speech and an utterance."""
    same_speaker_pairs_with_speech: int


def measure_nonspeech(
    model: Model,
    speech: Embedded,
    *,
    set_name: str,
    duration_seconds: float,
    sample_rate: int,
    max_pairs: int,
    seed: int,
) -> NonSpeechMetrics:
    """Every sound against every other, and against every clean utterance.

    Args:
        model: embeds and compares.
        speech: the utterances of one set and duration.
        set_name, duration_seconds: of these; the sounds are as long.
        sample_rate: of the model, Hz.
        max_pairs: with speech; more are sampled.
        seed: of the sounds, and of the sample.
    """
    sounds = list(nonspeech(sample_rate, duration_seconds, seed))
    answer = model.embed([pack_wav(to_pcm16(each.samples), sample_rate) for each in sounds])
    taken = np.array([status == OK for status in answer.status], bool)
    of_kind = Counter(sound.kind for sound, is_taken in zip(sounds, taken, strict=True) if is_taken)
    embeddings = answer.embedding[taken]
    first, second = np.triu_indices(len(embeddings), 1)
    *_, same_speaker = model.score(embeddings[first], embeddings[second])
    possible = len(embeddings) * len(speech.embeddings)
    drawn = np.arange(possible)
    if possible > max_pairs:
        drawn = np.random.default_rng(seed).choice(possible, max_pairs, replace=False)
    sound, utterance = np.divmod(drawn, max(1, len(speech.embeddings)))
    *_, same_as_speech = model.score(embeddings[sound], speech.embeddings[utterance])
    return NonSpeechMetrics(
        set=set_name,
        duration_seconds=duration_seconds,
        sounds=len(sounds),
        taken=int(taken.sum()),
        taken_by_kind={kind: of_kind[kind] for kind in NONSPEECH},
        pairs=len(first),
        same_speaker_pairs=int(same_speaker.sum()),
        pairs_with_speech=len(drawn),
        same_speaker_pairs_with_speech=int(same_as_speech.sum()),
    )
