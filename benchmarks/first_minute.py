"""The commands of README.md's first minute, run: what they print, seconds and memory.

`python -m benchmarks.first_minute [--empty-cache]` runs them in a new folder, with the user's cache
of the base model or, to time the first answer too, with an empty one. `swar app` is timed until the
page answers.
"""

import argparse
import contextlib
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

README: Final = Path(__file__).parents[1] / "README.md"
SWAR: Final = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def commands() -> list[list[str]]:
    """The words of each command after `swar`."""
    section = README.read_text("utf-8").partition("## First minute")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[0] == "swar"]


@contextlib.contextmanager
def page(words: list[str], folder: str, environment: dict[str, str]) -> Iterator[str]:
    """Opens the page on a free port while the context lasts; yields its address."""
    command = [*SWAR, *words, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            said = (re.search(rb"http://\S+", line) for line in process.stdout)
            yield next(url[0].decode() for url in said if url)
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--empty-cache", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # So that the gallery of the user who runs this is not touched.
        own = {"PYTHONPATH": str(README.parent), "XDG_DATA_HOME": str(Path(folder, "data"))}
        environment = {**os.environ, **own}
        if given.empty_cache:
            environment["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        for words in commands():
            print("$", shlex.join(["swar", *words]), flush=True)
            began = time.monotonic()
            if words[0] == "app":
                with page(words, folder, environment) as url, urllib.request.urlopen(url) as answer:
                    seconds = time.monotonic() - began
                    print(f"# {url}: {answer.status} after {seconds:.1f} s", flush=True)
                continue
            status = subprocess.run([*SWAR, *words], cwd=folder, env=environment, check=False)
            seconds = time.monotonic() - began
            # Of the largest child so far, in KiB on Linux.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(
                f"# exit status {status.returncode}, {seconds:.1f} s, peak {peak:.2f} GiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
