"""A version is what was published, or it is not loaded (the audit's M9)."""

import pytest

from components.errors import SwarError
from components.model.digest import DIGESTS, check_digests, write_digests


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets.extra").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"weights")
    write_digests(folder)
    return folder


def test_what_was_published_is_taken_without_a_word(version, caplog):
    check_digests(version)
    assert caplog.records == []


def change(version):
    (version / "variables" / "variables.index").write_bytes(b"weightS")


def add(version):
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"request")


def remove(version):
    (version / "variables" / "variables.index").unlink()


def replace_graph(version):
    (version / "saved_model.pb").write_bytes(b"evil!")


@pytest.mark.parametrize("fault", [change, add, remove, replace_graph])
def test_a_file_that_was_changed_added_or_removed(version, fault):
    fault(version)
    with pytest.raises(SwarError, match="not what was published") as caught:
        check_digests(version)
    assert "\n" not in str(caught.value)


def test_digests_that_are_no_text(version):
    (version / DIGESTS).write_bytes(b"\xff\xfe")
    with pytest.raises(SwarError, match="cannot be read"):
        check_digests(version)


def test_a_model_from_elsewhere_is_named_code(version, caplog):
    (version / DIGESTS).unlink()
    check_digests(version)
    (record,) = caplog.records
    assert "A model is code" in record.getMessage()
    assert "\n" not in record.getMessage()
