"""SpectrogramPairGen: cleaned speech in, pairs of log-mel windows out."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.settings import PairSettings, SpectrogramSettings
from components.spectrogram_pair_gen.executor import Executor


class SpectrogramPairGenSpec(ComponentSpec):
    """What SpectrogramPairGen takes and gives."""

    PARAMETERS = {
        "sample_rate": ExecutionParameter(type=int),
        "spectrogram_settings": ExecutionParameter(type=str),
        "pair_settings": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"speech": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"pairs": ChannelParameter(type=standard_artifacts.Examples)}


class SpectrogramPairGen(base_beam_component.BaseBeamComponent):
    """Samples same- and different-speaker trials and renders both windows of each.

    Outputs:
        pairs: Examples with the splits of `speech` (`schemas/spectrogram_pair.pbtxt`), and with
            `eval_conditions` and `unseen_conditions` where `pairs.condition` asks for some.
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
        code_digest: str,
    ) -> None:
        """Makes the node.

        Args:
            speech: SpeechExampleGen's output.
            sample_rate: of the speech, Hz.
            spectrogram_settings: the window.
            pair_settings: the protocol.
            code_digest: of this component's source.
        """
        super().__init__(
            spec=SpectrogramPairGenSpec(
                speech=speech,
                sample_rate=sample_rate,
                spectrogram_settings=spectrogram_settings.model_dump_json(),
                pair_settings=pair_settings.model_dump_json(),
                code_digest=code_digest,
                pairs=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )
