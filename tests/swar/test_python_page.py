"""The examples of docs/python.md run as they stand, against a small model."""

import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

import swar
from serving.embedding_file import embed_data
from tests.serving.support_endpoint import ENDPOINTS, RATE, FakeModel, voice
from tests.swar.support_pairs import write_pair

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.mp3", "b.wav", "sita-1.wav", "sita-2.wav", "unknown.wav")):
        soundfile.write(name, voice(180.0, 4.0, seed=seed), RATE)
    Path("calls").mkdir()
    for seed in range(3):
        soundfile.write(f"calls/{seed}.wav", voice(180.0, 4.0, seed=seed), RATE)
    pairs = Path("output/artifacts/SpectrogramPairGen/pairs/3/Split-eval/data")
    write_pair(pairs, "eval", 1, n_mels=64)
    with ENDPOINTS["grpc"](FakeModel()) as url, swar.Client(url) as client:
        embed_data(client, "calls", Path("embeddings.parquet"), lambda done, of: None)
        monkeypatch.setattr(swar, "load", lambda *names, **options: client)
        namespace: dict[str, Any] = {}
        for example in EXAMPLES:
            exec(compile(example, str(PAGE), "exec"), namespace)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("True 0.9")
    assert lines[1].startswith("Sita [0.9")
    assert lines[2] == "b'Sita' 1 (64, 12)"


def test_the_example_of_the_page_about_decisions_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.mp3", "b.mp3")):
        soundfile.write(name, voice(180.0, 4.0, seed=seed), RATE)
    (example,) = re.findall(
        r"```python\n(.*?)```", (PAGE.parent / "decisions.md").read_text("utf-8"), re.DOTALL
    )
    with ENDPOINTS["grpc"](FakeModel()) as url, swar.Client(url) as client:
        monkeypatch.setattr(swar, "load", lambda *names, **options: client)
        namespace: dict[str, Any] = {}
        exec(compile(example, str(PAGE), "exec"), namespace)
    assert namespace["decision"].verdict == "same"
