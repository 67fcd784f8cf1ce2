from pathlib import Path

import pytest
from google.protobuf import text_format
from tfx.types import standard_artifacts

from components.import_schema_gen.component import ImportSchemaGen
from components.import_schema_gen.executor import Executor
from tests.support_executors import artifact

TEXT = '# kept as it is\nfeature { name: "label" type: INT }\n'


def test_the_schema_is_written_byte_for_byte(tmp_path: Path) -> None:
    node = ImportSchemaGen(TEXT)
    schema = artifact(standard_artifacts.Schema, tmp_path)
    Executor().Do({}, {"schema": [schema]}, dict(node.exec_properties))
    assert (tmp_path / "schema.pbtxt").read_text() == TEXT


def test_a_text_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    schema = artifact(standard_artifacts.Schema, tmp_path)
    with pytest.raises(text_format.ParseError):
        Executor().Do({}, {"schema": [schema]}, {"schema_text": "feature { nam"})
    assert list(tmp_path.iterdir()) == []
