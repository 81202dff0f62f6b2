"""Runs side by side, a process and a torch thread each."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

import torch

from holdfast.studies.executor import Job, Report, perform

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_PATIENCE = 5
"""Seconds a worker has to leave."""


@dataclass
class _Worker:
    process: SpawnProcess
    job: int
    ready: bool = False


class ProcessPool:
    """A pool of processes, started afresh (spawn), each with one torch thread.

    A worker that dies takes its job alone with it. An interrupt (Ctrl-C) ends the workers; they
    end with this process too, however it ends, so no two ever write to one folder. A script that
    uses the pool must guard what it does by ``if __name__ == "__main__":``.

    Args:
        workers: number of processes; the cores this process may use by default. Runs on one GPU
            share it, each with a context of its own.

    Raises:
        ValueError: `workers` is no positive integer.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and (type(workers) is not int or workers < 1):
            raise ValueError(f"workers must be a positive integer, got {workers!r}")
        self.workers = cores() if workers is None else workers

    def run(self, jobs: Sequence[Job]) -> Generator[Report, None, None]:
        """Carry the jobs out, in order as far as workers are free.

        Raises:
            RuntimeError: a worker cannot even start.
        """
        waiting = deque(range(len(jobs)))
        crew: dict[Connection, _Worker] = {}
        try:
            for _ in range(min(self.workers, len(jobs))):
                yield self._hire(crew, jobs, waiting.popleft())
            while crew:
                for ready in wait(list(crew)):
                    connection = cast(Connection, ready)
                    worker = crew[connection]
                    try:
                        error = connection.recv()
                    except (EOFError, OSError):
                        yield self._died(connection, crew.pop(connection))
                        if waiting:
                            yield self._hire(crew, jobs, waiting.popleft())
                        continue
                    if not worker.ready:
                        worker.ready = True
                        continue
                    yield Report(worker.job, ended=True, error=error)
                    if waiting:
                        worker.job = waiting.popleft()
                        self._send(connection, jobs[worker.job])
                        yield Report(worker.job)
                    else:
                        _part(connection, crew.pop(connection))
        finally:
            for worker in crew.values():
                worker.process.terminate()
            for connection, worker in crew.items():
                _part(connection, worker)

    def _hire(self, crew: dict[Connection, _Worker], jobs: Sequence[Job], index: int) -> Report:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs,))
        with _single_threaded():
            process.start()
        # Ours alone must keep the pipe open, or the worker's death would go unseen.
        theirs.close()
        crew[ours] = _Worker(process, index)
        self._send(ours, jobs[index])
        return Report(index)

    def _send(self, connection: Connection, job: Job) -> None:
        # Of a worker that died meanwhile the next look at its pipe will tell.
        with suppress(OSError):
            connection.send(job)

    def _died(self, connection: Connection, worker: _Worker) -> Report:
        connection.close()
        worker.process.join()
        code = worker.process.exitcode
        worker.process.close()
        if not worker.ready:
            raise RuntimeError(
                f"a worker process could not start (exit code {code}); a script that runs a study "
                'must do so under `if __name__ == "__main__":`, or set workers to 1'
            )
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            hint = "; not enough memory, perhaps: try fewer workers" if code == -9 else ""
        else:
            how, hint = f"left with exit code {code}", ""
        return Report(worker.job, ended=True, error=f"the worker process {how}{hint}")


def cores() -> int:
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _single_threaded() -> Iterator[None]:
    """The environment in which libraries start with one thread; they look once, when loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _part(connection: Connection, worker: _Worker) -> None:
    """See a worker off, which leaves by itself when its pipe is closed."""
    connection.close()
    worker.process.join(_PATIENCE)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _work(connection: Connection) -> None:
    """Life of a worker: it reports ready, then performs jobs until the pipe closes."""
    # An interrupt from the keyboard reaches all processes; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    connection.send(None)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(perform(job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
