"""Streams in double precision."""

from holdfast.data.split import Split
from holdfast.streams.stream import Stream, Task


def doubled(stream: Stream) -> Stream:
    """The same tasks, inputs in float64."""

    def split(part: object) -> Split:
        assert isinstance(part, Split)
        return Split(part.x.double(), part.y)

    tasks = [Task(t.name, split(t.train), split(t.test), None, t.classes) for t in stream]
    return Stream(tasks, stream.scenario)
