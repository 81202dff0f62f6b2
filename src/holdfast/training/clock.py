"""The time of a task, training and evaluation told apart."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.records.record import Record


class Clock:
    """Writes the time of the latest task into a record, also of a task that is cut in two."""

    def __init__(self) -> None:
        self._wall = self._cpu = 0.0

    @staticmethod
    def new_task(record: Record) -> None:
        """Start at zero for one more task."""
        for times in (record.seconds, record.cpu_seconds, record.eval_seconds):
            times.append(0.0)

    @contextmanager
    def training(self, record: Record) -> Iterator[None]:
        """Count the time inside as training."""
        self._start()
        try:
            yield
        finally:
            self.tick(record)

    @contextmanager
    def evaluation(self, record: Record, amid_training: bool = False) -> Iterator[None]:
        """Count the time inside as evaluation, and not as training where it is amid it."""
        if amid_training:
            self.tick(record)
        began = time.perf_counter()
        try:
            yield
        finally:
            record.eval_seconds[-1] += time.perf_counter() - began
            if amid_training:
                self._start()

    def tick(self, record: Record) -> None:
        """Write down the training time up to now."""
        wall, cpu = self._wall, self._cpu
        self._start()
        record.seconds[-1] += self._wall - wall
        record.cpu_seconds[-1] += self._cpu - cpu

    def _start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
