"""Three reports that the tests share."""

import pytest

from tests.components.verification_report.support_oracle import spoken, table
from tests.components.verification_report.support_report import report, synthetic_report
from tests.components.verification_report.support_troubled import troubled_report


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return report(tmp_path_factory.mktemp("report") / "speech")


@pytest.fixture(scope="session")
def troubled(tmp_path_factory):
    return troubled_report(tmp_path_factory.mktemp("troubled") / "speech")


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    return synthetic_report(tmp_path_factory.mktemp("many") / "speech")


@pytest.fixture(params=["made", "troubled"])
def either(request):
    """One report and then the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def scores(either):
    return table(either, "scores.parquet")


@pytest.fixture
def possible(either):
    """How many utterances lie end to end in each speaker's pieces, of a split and a duration."""
    speech = spoken(either)

    def of(split, seconds):
        own = speech[speech["split"] == split]
        return (own["seconds"] // seconds).astype(int).groupby(own["speaker"]).sum().to_dict()

    return of
