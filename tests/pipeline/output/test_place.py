"""Where a run may not write."""

from pathlib import Path

import pytest

from components.errors import SwarError
from pipeline.output.place import check_output


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of speakers and of spans, a manifest and links, in the working directory."""
    for folder in ("DATA/asha", "DATA/2026-01-05/asha", "week-7/asha", "{odd}", "other"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "speech.csv").write_text("path,speaker\n")
    (tmp_path / "link").symlink_to("DATA")
    (tmp_path / "DATA" / "away").symlink_to(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ("DATA", "DATA"),
        ("DATA", "DATA/output"),
        ("DATA/", "DATA/asha/../new/output"),
        ("DATA", "link/output"),
        ("link", "DATA/output"),
        ("DATA", "DATA/away/output"),
        (".", "output"),
        ("{odd}", "{odd}/output"),
        ("DATA/{SPAN}", "DATA/output"),
        ("DATA/{SPAN}", "DATA"),
        ("DATA/{YYYY}-{MM}-{DD}", "DATA/output"),
        ("DATA/{YYYY}-{MM}-{DD}", "DATA/2026-01-05/output"),
        ("week-{SPAN}", "week-7/output"),
        ("week-{SPAN}/speech", "week-7"),
    ],
)
def test_an_output_that_would_be_data_is_refused(data: str, output: str) -> None:
    with pytest.raises(SwarError, match=r"^the output folder /.* lies in the data, /.*: choose"):
        check_output(Path(output), data)


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ("DATA", "output"),
        ("DATA", "DATA-output"),
        ("DATA", "."),
        ("speech.csv", "output"),
        ("DATA/{SPAN}", "output"),
        ("{SPAN}.csv", "output"),
        ("week-{SPAN}", "output"),
        ("week-{SPAN}", "."),
        ("gs://bucket/DATA", "gs/bucket/DATA"),
        ("absent", "absent/output"),
    ],
)
def test_an_output_beside_the_data_is_none_of_it(data: str, output: str) -> None:
    check_output(Path(output), data)


@pytest.mark.parametrize("output", ["runs [x]", "runs [x]/output", "a*", "a?", "a]", "a\\b"])
def test_a_path_with_wildcards_is_refused(here: Path, output: str) -> None:
    with pytest.raises(SwarError) as raised:
        check_output(Path(output), "DATA")
    assert str(here / output) in str(raised.value)
    assert str(raised.value).endswith("which Beam takes for a pattern: choose another one")
