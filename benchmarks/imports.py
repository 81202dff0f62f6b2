"""What `import holdfast` costs beyond `import torch`."""

import statistics
import subprocess
import sys

_CODE = """
import time, torch
began = time.perf_counter(), time.process_time()
import holdfast
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def import_seconds(repetitions: int) -> tuple[float, float]:
    """Wall and CPU seconds, medians over fresh processes that have torch already."""
    found = [
        subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
        for _ in range(repetitions)
    ]
    times = [[float(word) for word in one.stdout.split()] for one in found]
    wall, cpu = zip(*times, strict=True)
    return statistics.median(wall), statistics.median(cpu)
