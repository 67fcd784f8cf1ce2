"""TFX's Trainer, told about Swar's training."""

from tfx import types
from tfx.components import Trainer
from tfx.proto import trainer_pb2

from components import features
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)


def make_trainer(
    *,
    pairs: types.BaseChannel,
    schema: types.BaseChannel,
    trainer: TrainerSettings,
    speech: SpeechSettings,
    spectrogram: SpectrogramSettings,
    serving: ServingSettings,
    provenance: dict[str, str],
    checkpoints: str,
) -> Trainer:
    """The Trainer node.

    Args:
        pairs: SpectrogramPairGen's output.
        schema: of the pairs.
        trainer: how to train.
        speech: how the recordings were cleaned; travels with the model.
        spectrogram: the window; gives the tower its shape.
        serving: what the exported model takes.
        provenance: digests of the settings, the data and the code, stored in the model. A
            change of any of them reruns the training.
        checkpoints: folder in which a killed training finds its state again.
    """
    return Trainer(
        run_fn="components.trainer.run_fn.run_fn",
        examples=pairs,
        schema=schema,
        train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN]),
        eval_args=trainer_pb2.EvalArgs(splits=[features.CALIBRATION, features.EVAL]),
        custom_config={
            "trainer": trainer.model_dump_json(),
            "speech": speech.model_dump_json(),
            "spectrogram": spectrogram.model_dump_json(),
            "serving": serving.model_dump_json(),
            "provenance": provenance,
            "checkpoints": checkpoints,
        },
    )
