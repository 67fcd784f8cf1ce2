"""One report that the tests share."""

import pytest

from tests.components.verification_report.support_report import report


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return report(tmp_path_factory.mktemp("report") / "speech")
