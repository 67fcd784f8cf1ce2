"""Warnings that our own code causes are errors in every test, those of libraries are not."""

import warnings

import pytest


def _warn_from(module: str) -> None:
    exec("import warnings\nwarnings.warn('old')", {"__name__": module})


@pytest.mark.parametrize(
    "module", ["components.audio", "components.trainer.executor", "pipeline.cli", "serving.client"]
)
def test_our_own_warnings_are_errors(module: str) -> None:
    with pytest.raises(UserWarning, match="old"):
        _warn_from(module)


@pytest.mark.parametrize("module", ["tensorflow.components.audio", "componentsx", "kfp.pipeline"])
def test_warnings_of_libraries_are_not(module: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        _warn_from(module)
    assert [str(warning.message) for warning in caught] == ["old"]
