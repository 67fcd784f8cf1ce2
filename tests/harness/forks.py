"""Processes that begin with the libraries imported: forks of one that imported them once."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = [
    "components.trainer.run_fn",
    "pipeline.pipeline",
    "tensorflow_model_analysis",
    "tests.e2e.support_runs",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_entrypoint_utils",
    "tfx.orchestration.local.local_dag_runner",
]


def start_fork(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Calls a function of a module in a fork."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    process = processes.Process(target=function, args=arguments)
    process.start()
    return process


def run_in_fork(words: list[str], log: Path) -> int:
    """Runs `python -m MODULE ARGUMENT...` in a fork, its output into a file; the exit status."""
    python, option, module, *arguments = words
    if (python, option) != ("python", "-m"):
        raise NotImplementedError(f"a command that is no module of Python: {words}")
    process = start_fork(_run_module, module, arguments, log)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def write_to(log: Path, *descriptors: int) -> None:
    """Sends what this process writes to these descriptors to a file."""
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for descriptor in descriptors:
        os.dup2(file, descriptor)


def _run_module(module: str, arguments: list[str], log: Path) -> None:
    write_to(log, 1, 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
