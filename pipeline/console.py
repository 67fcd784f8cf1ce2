"""What a user sees while the pipeline runs."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import RenderableType
from rich.live import Live

from components.terminal import Console, Table

PROGRESS_LOGGER = "swar.progress"


@dataclass
class _Component:
    name: str
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0

    def elapsed(self) -> float:
        """Seconds of work so far."""
        return time.monotonic() - self.started if self.state == "running" else self.seconds


class Progress(logging.Handler):
    """Shows the progress of a pipeline from the logs of TFX and the components.

    On a terminal a table of the components stays at the bottom; elsewhere each event is a
    line. Messages of the logger `swar.progress` are shown with the name of the running
    component.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.components: dict[str, _Component] = {}
        self._console = console
        self._running: _Component | None = None
        self._thread = threading.get_ident()
        self._live = Live(
            console=console,
            get_renderable=self._table,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextmanager
    def watching(self, names: Sequence[str]) -> Iterator[None]:
        """Follows a run of these components; an exception marks the running one as failed."""
        self.components = {name: _Component(name) for name in names}
        loggers = logging.getLogger("absl"), logging.getLogger(PROGRESS_LOGGER)
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
        if self._console.is_terminal:
            self._live.start()
        try:
            yield
        except BaseException:
            self._end("failed")
            raise
        finally:
            if self._console.is_terminal:
                self._live.stop()
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(self)
                logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Handles one log record; TFX's are recognised by their message templates.

        TFX 1.21's local runner reports its nodes in no other way.
        """
        if record.name == PROGRESS_LOGGER:
            where = self._running.name if self._running else "swar"
            self._say(f"  {where}: {record.getMessage()}")
            return
        # Beam's threads log through absl as well; nodes start and end in this thread.
        if record.thread != self._thread or not isinstance(record.msg, str):
            return
        match record.msg:
            case "Component %s is running.":
                self._begin(str(record.args[0] if isinstance(record.args, tuple) else ""))
            case "A cached execution %d is used.":
                self._set("cached")
            case "[%s] Input resolution error: %s" | "Skipping execution for %s":
                self._set("skipped")
            case "Component %s is finished.":
                self._end("done")

    def without_inputs(self) -> list[str]:
        """The components that TFX skipped because an input was missing."""
        return [item.name for item in self.components.values() if item.state == "skipped"]

    def failed(self) -> str | None:
        """The component that failed; None if none did."""
        failed = [item.name for item in self.components.values() if item.state == "failed"]
        return failed[0] if failed else None

    def _begin(self, name: str) -> None:
        component = self.components[name]
        component.state, component.started = "running", time.monotonic()
        self._running = component
        if not self._console.is_terminal:
            self._say(f"{name}: running")

    def _set(self, state: str) -> None:
        if self._running:
            self._running.seconds = self._running.elapsed()
            self._running.state = state

    def _end(self, state: str) -> None:
        component, self._running = self._running, None
        if component is None:
            return
        component.seconds = component.elapsed()
        if component.state == "running":
            component.state = state
        if not self._console.is_terminal:
            self._say(f"{component.name}: {component.state}, {component.seconds:.1f} s")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        styles = {"running": "bold", "cached": "cyan", "done": "green", "failed": "red"}
        table = Table(box=None, show_header=False, padding=(0, 2))
        for item in self.components.values():
            seconds = f"{item.elapsed():.0f} s" if item.state != "waiting" else ""
            table.add_row(item.name, item.state, seconds, style=styles.get(item.state, "dim"))
        return table
