"""A report on speech that has what the other report's speech lacks: faults, limits, more people."""

from components import features
from components.verification_report.data_card import REJECTS_LISTED
from tests.components.verification_report import support_report
from tests.components.verification_report.support_report import (
    CARD,
    RATE,
    SEEN,
    SPLIT_SECONDS,
    piece,
    speech,
    voice,
)

# Four women, so that most resamples compare two of them; no man.
UNSEEN = {"सीता": "female", "esha": "female", "gauri": "female", "hira": "female", "ram": "unknown"}
# Trials are drawn from what there is, utterances chosen for the map. Of 3 s there is too little.
SETTINGS = support_report.SETTINGS.model_copy(
    update={
        "duration_seconds": (0.5, 1.0, 3.0),
        "detail_seconds": 0.5,
        "trials_per_class": 40,
        "map_utterances": 30,
        "worst_pairs": 2,
        "seed": 7,
    }
)
REJECTS = [
    {"file": f"kiran/{number}.wav", "reason": reason, "seconds": 0.1 * number, "detail": "none"}
    for number in range(REJECTS_LISTED)
    for reason in ("too_short", "silent")[: 1 + number % 2]
]


def _promise(kind, **changed):
    """What a card says of one kind of strangers, with its shorter length near what is judged."""
    short, long = CARD["calibration"][kind]
    return [short | {"seconds": 0.4} | changed, long]


# An error rate that is easily undercut, of too few speakers for an interval.
UNDERCUT = {"value": 0.9, "low": None, "high": None}
TROUBLED_CARD = CARD | {
    "best_epoch": 3,
    "calibration": {
        "speakers": 3,
        "nontargets": _promise("nontargets", eer=UNDERCUT),
        "nearest_nontargets": _promise("nearest_nontargets"),
    },
}


def troubled_speech():
    """Examples by split, with every leak there is and with silence that the model refuses."""
    made = speech(UNSEEN)
    dev = voice(list(SEEN).index("dev"), sum(SPLIT_SECONDS.values()))
    train_seconds = SPLIT_SECONDS[features.TRAIN]
    silence = voice(9, 3.0) * 0
    made[features.TRAIN].append(piece("esha", "female", "esha/old.wav", 0.0, voice(8, 2.0)))
    made[features.CALIBRATION] += [
        piece("esha", "female", "esha/old.wav", 2.0, voice(8.1, 1.0)),
        piece("kiran", "male", "kiran/1.wav", 0.0, voice(8.2, 4.0)),
    ]
    made[features.EVAL] += [
        # Some of what `calibration` has, and a recording that `train` has under another name.
        piece("dev", "male", "dev/talk.wav", train_seconds + 1.0, voice(8.3, 0.8)),
        piece("dev", "male", "dev/copy.wav", 0.0, dev[: round(train_seconds * RATE)]),
        piece("bina", "female", "bina/silent.wav", 0.0, silence),
    ]
    made[features.UNSEEN].append(piece("gita", "female", "gita/1.wav", 0.0, silence[: 2 * RATE]))
    return made


def troubled_report(folder):
    """Of that speech."""
    return support_report.report(
        folder,
        examples=troubled_speech(),
        rejects=REJECTS,
        card=TROUBLED_CARD,
        blessed=False,
        settings=SETTINGS,
    )
