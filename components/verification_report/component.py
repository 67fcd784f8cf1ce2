"""VerificationReport: a model's data, how well it works, and where it fails."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components import artifacts
from components.settings import ReportSettings
from components.verification_report.executor import Executor
from components.verification_report.page import template_digest


class VerificationReportSpec(ComponentSpec):
    """Inputs and outputs of VerificationReport."""

    PARAMETERS = {
        "settings": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
        "template_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "speech": ChannelParameter(type=standard_artifacts.Examples),
        "rejects": ChannelParameter(type=artifacts.Rejects),
        "recordings": ChannelParameter(type=artifacts.Recordings),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS = {"report": ChannelParameter(type=artifacts.VerificationReport)}


class VerificationReport(base_component.BaseComponent):
    """Judges the model on `eval` and `unseen`, and writes a page about it.

    Outputs:
        report: a folder with `index.html`, its plots as PNG or SVG, `figures.json` with every
            number, and the scores and embeddings behind them.
    """

    SPEC_CLASS = VerificationReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        speech: types.BaseChannel,
        rejects: types.BaseChannel,
        recordings: types.BaseChannel,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        settings: ReportSettings,
        code_digest: str,
    ) -> None:
        """Makes the node.

        Args:
            speech: SpeechExampleGen's output; the split `unseen` may be absent.
            rejects, recordings: SpeechExampleGen's other outputs.
            model: the Trainer's.
            blessing: the Evaluator's, which the page shows.
            settings: bounds and seed.
            code_digest: of this component's source.
        """
        super().__init__(
            spec=VerificationReportSpec(
                speech=speech,
                rejects=rejects,
                recordings=recordings,
                model=model,
                blessing=blessing,
                settings=settings.model_dump_json(),
                code_digest=code_digest,
                template_digest=template_digest(),
                report=channel_utils.as_channel([artifacts.VerificationReport()]),
            )
        )
