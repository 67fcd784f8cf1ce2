"""SpectrogramPairGen: cleaned speech in, pairs of log-mel windows out."""

import os

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.settings import PairSettings, SpectrogramSettings
from components.spectrogram_pair_gen.executor import Executor


class SpectrogramPairGenSpec(ComponentSpec):
    """Parameters, input and output of SpectrogramPairGen."""

    PARAMETERS = {
        "sample_rate": ExecutionParameter(type=int),
        "spectrogram_settings": ExecutionParameter(type=str),
        "pair_settings": ExecutionParameter(type=str),
        "sounds_digest": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"speech": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"pairs": ChannelParameter(type=standard_artifacts.Examples)}


class SpectrogramPairGen(base_beam_component.BaseBeamComponent):
    """Samples same- and different-speaker trials and renders both windows of each.

    Outputs:
        pairs: Examples with the splits of `speech` (`schemas/spectrogram_pair.pbtxt`), and with
            `eval_conditions` and `unseen_conditions` if `pairs.condition` is above 0.
    """

    SPEC_CLASS = SpectrogramPairGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        speech: types.BaseChannel,
        sample_rate: int,
        spectrogram_settings: SpectrogramSettings,
        pair_settings: PairSettings,
        sounds_digest: str | RuntimeParameter,
        code_digest: str,
    ) -> None:
        """Makes the node.

        Args:
            speech: SpeechExampleGen's output.
            sample_rate: of the speech, Hz.
            spectrogram_settings: the window.
            pair_settings: the protocol.
            sounds_digest: fingerprint of its folders of recorded sounds.
            code_digest: fingerprint of this component's source.
        """
        super().__init__(
            spec=SpectrogramPairGenSpec(
                speech=speech,
                sample_rate=sample_rate,
                spectrogram_settings=spectrogram_settings.model_dump_json(),
                pair_settings=_with_absolute_folders(pair_settings).model_dump_json(),
                sounds_digest=sounds_digest,
                code_digest=code_digest,
                pairs=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )


def _with_absolute_folders(settings: PairSettings) -> PairSettings:
    """Makes folders absolute, since tasks may run in another working folder."""
    absolute = {
        f"{name}_folder": folder if "://" in folder else os.path.abspath(folder)
        for name, folder in settings.augmentation.folders.items()
    }
    augmentation = settings.augmentation.model_copy(update=absolute)
    return settings.model_copy(update={"augmentation": augmentation})
