"""The commands of README.md's first minute, run: what they print, seconds and memory.

`python -m benchmarks.first_minute [--empty-cache]` runs them in a new folder, with the user's cache
of the base model or, to time the first answer too, with an empty one.
"""

import argparse
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

README: Final = Path(__file__).parents[1] / "README.md"
SWAR: Final = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def commands() -> list[list[str]]:
    """The words behind `swar` of each command but `app`, which goes on until it is stopped."""
    section = README.read_text("utf-8").partition("## First minute")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[0] == "swar" and words[1] != "app"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--empty-cache", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The gallery of the user who runs this is left alone.
        own = {"PYTHONPATH": str(README.parent), "XDG_DATA_HOME": str(Path(folder, "data"))}
        environment = {**os.environ, **own}
        if given.empty_cache:
            environment["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        for words in commands():
            print("$", shlex.join(["swar", *words]), flush=True)
            began = time.monotonic()
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
