"""SpeechExampleGen: recordings in, cleaned speech by split out."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Recordings, Rejects
from components.settings import SpeechSettings
from components.speech_example_gen.executor import Executor


class SpeechExampleGenSpec(ComponentSpec):
    """Parameters and outputs of SpeechExampleGen."""

    PARAMETERS = {
        "data": ExecutionParameter(type=str),
        "data_digest": ExecutionParameter(type=str),
        "settings": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "speech": ChannelParameter(type=standard_artifacts.Examples),
        "rejects": ChannelParameter(type=Rejects),
        "recordings": ChannelParameter(type=Recordings),
    }


class SpeechExampleGen(base_beam_component.BaseBeamComponent):
    """Decodes, cleans and splits the recordings of a folder or manifest.

    Outputs:
        speech: Examples, one per cleaned piece (`schemas/speech.pbtxt`).
        rejects: what was not used and why.
        recordings: what was used, in which split, and how it sounds.
    """

    SPEC_CLASS = SpeechExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        data: str | RuntimeParameter,
        data_digest: str | RuntimeParameter,
        settings: SpeechSettings,
        code_digest: str,
    ) -> None:
        """Makes the node.

        Args:
            data: folder, manifest, or pattern of spans of either, on any Beam filesystem.
            data_digest: fingerprint of the data, so that the cache is never stale.
            settings: how to clean and split.
            code_digest: fingerprint of this component's source.
        """
        super().__init__(
            spec=SpeechExampleGenSpec(
                data=data,
                data_digest=data_digest,
                settings=settings.model_dump_json(),
                code_digest=code_digest,
                speech=channel_utils.as_channel([standard_artifacts.Examples()]),
                rejects=channel_utils.as_channel([Rejects()]),
                recordings=channel_utils.as_channel([Recordings()]),
            )
        )
