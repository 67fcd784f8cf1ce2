"""Peak memory and time of each component of a real run.

`python -m benchmarks.run_profile --config demo --data DATA --output OUTPUT ...`: the arguments
of `swar run`. Shows the output of `swar run`, then a table.
"""

import subprocess
import sys
import threading
import time

from benchmarks.process_memory import GIBIBYTE, SAMPLE_SECONDS, PeakMemory


class ComponentPeaks:
    """The memory peak of each component, in the order in which they ran."""

    def __init__(self) -> None:
        self.peaks: dict[str, PeakMemory] = {}
        self._running = "start"

    def read(self, line: str) -> None:
        """Handles a line of the run's output."""
        name, _, state = line.strip().partition(": ")
        if state == "running":
            self._running = name

    def sample(self) -> None:
        """Counts the memory in use now for the running component."""
        self.peaks.setdefault(self._running, PeakMemory()).sample()


def profile(arguments: list[str]) -> int:
    """Runs `swar run` and gives its exit status."""
    peaks = ComponentPeaks()
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "run", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def sample() -> None:
        while process.poll() is None:
            peaks.sample()
            time.sleep(SAMPLE_SECONDS)

    sampler = threading.Thread(target=sample)
    sampler.start()
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        peaks.read(line)
    sampler.join()
    for name, peak in peaks.peaks.items():
        print(f"{name:20} peak {peak.peak_bytes / GIBIBYTE:.2f} GiB")
    return process.returncode


if __name__ == "__main__":
    sys.exit(profile(sys.argv[1:]))
