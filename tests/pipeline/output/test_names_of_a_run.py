"""By which names a run and the models in its output folder are found."""

import json
from pathlib import Path

import pytest

from components.errors import SwarError
from components.model.files import MODEL_CARD, check_model, version_folder
from components.pusher.publish import publish
from pipeline.output.folder import (
    METADATA,
    check_run,
    check_versions_folder,
    model_digest,
    output_and_version,
    published_versions,
    run_folder,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The output folder of a run that published the versions 3 and 20."""
    output = tmp_path / "output"
    for version in ("3", "20"):
        card = output / "published" / version / MODEL_CARD
        card.parent.mkdir(parents=True)
        needed = {"sample_rate": 16_000, "embedding_size": 2, "threshold": 1.0}
        card.write_text(json.dumps({"model_digest": version, **needed}))
        (output / "published" / version / "saved_model.pb").touch()
    (output / METADATA).touch()
    return output


@pytest.mark.parametrize(
    ("name", "version"), [("", 20), ("published", 20), ("published/3", 3), ("published/20", 20)]
)
def test_a_model_is_named_by_its_run_its_folder_or_its_version(
    output: Path, name: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert version_folder(output / name) == output / "published" / str(version)
    assert output_and_version(output / name) == (output, version)
    check_model(str(output / name))
    monkeypatch.chdir(output / name)
    assert output_and_version(".") == (output, version)


@pytest.mark.parametrize("name", ["007", "0030", "٣٠", str(2**63), "9" * 200])
def test_a_number_that_is_written_otherwise_is_no_version(output: Path, name: str) -> None:
    """The server takes none either; 007 and 7 would be two models with one number."""
    other = (output / "published" / "20").rename(output / "published" / name)
    assert list(published_versions(output)) == [3]
    assert version_folder(output) == output / "published" / "3"
    with pytest.raises(SwarError, match="does not lie in the output folder of a run"):
        output_and_version(other)
    (other / "saved_model.pb").unlink()
    check_versions_folder(output / "published")
    published = Path(publish(str(output / "published" / "3"), str(output / "published")))
    assert published == output / "published" / "3"
    assert other.is_dir()


def test_a_card_that_cannot_be_read_is_one_line(output: Path) -> None:
    folder = output / "published" / "20"
    assert (model_digest(folder), model_digest(output)) == ("20", None)
    (folder / MODEL_CARD).write_text("{")
    for read in (lambda: published_versions(output), lambda: model_digest(folder)):
        with pytest.raises(SwarError, match=r"has no readable .*: publish it again"):
            read()


def test_a_version_without_a_card_is_not_passed_over(output: Path) -> None:
    """Its model may be that of a person who is to be removed."""
    (output / "published" / "20" / MODEL_CARD).unlink()
    assert output_and_version(output) == (output, 20)
    with pytest.raises(SwarError, match=r"published/20 has no readable .*No such file"):
        published_versions(output)


def test_what_holds_no_model_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "7").mkdir()
    with pytest.raises(SwarError) as raised:
        version_folder(tmp_path)
    assert str(raised.value) == (
        f"'{tmp_path}' holds no model, which would be saved_model.pb, VERSION/saved_model.pb or "
        "published/VERSION/saved_model.pb: name OUTPUT (the folder of a run), OUTPUT/published, a "
        "version in it, or base"
    )
    with pytest.raises(SwarError, match="'nowhere' does not exist: name OUTPUT"):
        check_model("nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SwarError, match="file' is no folder: name OUTPUT"):
        check_model(str(tmp_path / "file"))


def test_a_model_outside_of_a_run_has_no_records(output: Path, tmp_path: Path) -> None:
    copy = (output / "published" / "3").rename(tmp_path / "3")
    with pytest.raises(SwarError, match="does not lie in the output folder of a run"):
        output_and_version(copy)
    with pytest.raises(SwarError, match="the base model was not made by a run"):
        output_and_version("base")


def test_a_folder_called_base_is_not_the_base_model(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = output.rename(output.parent / "base")
    monkeypatch.chdir(base.parent)
    assert output_and_version("./base") == output_and_version(Path("base")) == (base, 20)
    assert run_folder("./base") == Path("base")


def test_a_run_is_named_by_its_folder_or_the_one_of_its_models(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_folder(str(output)) == run_folder(str(output / "published")) == output
    monkeypatch.chdir(output)
    assert run_folder("published") == output
    for one_model in ("base", str(output / "published" / "3")):
        with pytest.raises(SwarError, match="is one model: name the output folder of a run"):
            run_folder(one_model)


def test_a_run_in_a_folder_called_published_is_that_run(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = output.rename(output.parent / "published")
    assert run_folder(str(named)) == named
    (named / METADATA).unlink()
    with pytest.raises(SwarError, match="name the output folder of a run"):
        check_run(run_folder(str(named)))
