"""The Python of every page runs as it stands, a page's blocks one after the other."""

import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

import swar
from serving.embedding_file import embed_data
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, rest_endpoint, voice
from tests.support_documents import PAGES, code_blocks
from tests.swar.support_pairs import write_pair

EXAMPLES = {page: code_blocks(page, "python") for page in PAGES if code_blocks(page, "python")}
LOW, HIGH = 180.0, 320.0
OF_LOW = ("a.mp3", "b.mp3", "a.wav", "b.wav", "sita-1.wav", "sita-2.wav", "unknown.wav")
PRINTED = {
    "decisions": [r"\d+\.\d+ \(.*\)"],
    "python": [r"True 0\.9\d+", r"Sita \[0\.9.*\]", r"b'Sita' 1 \(64, 12\)"],
    # The small model's threshold for 1 % is 0.0001.
    "rest": [r"True 0\.9\d+", "True", r"False \{.*\}"],
    "timeline": ["0.0 6.0 Asha"],
}
"""Patterns of the lines that a page's examples print."""


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(OF_LOW):
        soundfile.write(name, voice(LOW, 4.0, seed=seed), RATE)
    soundfile.write("asha.wav", voice(HIGH, 6.0), RATE)
    soundfile.write("call.wav", voice(HIGH, 6.0, seed=1), RATE)
    Path("calls").mkdir()
    for seed in range(3):
        soundfile.write(f"calls/{seed}.wav", voice(LOW, 4.0, seed=seed), RATE)
    pairs = Path("output/artifacts/SpectrogramPairGen/pairs/3/Split-eval/data")
    write_pair(pairs, "eval", 1, n_mels=64)


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    model = FakeModel()
    with grpc_endpoint(model) as grpc, rest_endpoint(model) as rest, swar.Client(grpc) as client:
        embed_data(client, "calls", Path("embeddings.parquet"), lambda done, of: None)
        swar.enroll(client, swar.Gallery("gallery"), "Asha", ["asha.wav"])
        monkeypatch.setattr(swar, "load", lambda *names, **options: client)
        monkeypatch.setattr(swar.Client, "in_process", lambda *names, **options: client)
        for example in EXAMPLES[page]:
            example = example.replace("grpc://127.0.0.1:8500", grpc)
            example = example.replace("http://127.0.0.1:8501", rest)
            exec(compile(example, str(page), "exec"), namespace)
    lines = capsys.readouterr().out.splitlines()
    for pattern, line in zip(PRINTED[page.stem], lines, strict=True):
        assert re.fullmatch(pattern, line)
