"""TensorBoard and the event files of tickcast.

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install tensorboard==2.21.0 tbparse==0.0.9
    .cache/reference/bin/python tests/reference/tensorboard_log.py FOLDER

reads the event file of a fit with TensorBoard's own reader and with tbparse, and compares every
value with `metrics.jsonl` beside it (fit.logs = ["jsonl", "tensorboard"]). With `--golden` it
writes tests/data/tensorboard_reference.txt instead, two records made of TensorBoard's classes, which
src/train/logs/tensorboard.rs is held to.
"""

import json
import pathlib
import struct
import sys

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def golden():
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    values = [("loss", 0.25), ("rate", 1e-3)]
    values = [summary_pb2.Summary.Value(tag=tag, simple_value=v) for tag, v in values]
    events = [
        event_pb2.Event(wall_time=1.5, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=2.5, step=300, summary=summary_pb2.Summary(value=values)),
    ]

    class Sink(list):
        write = list.append

    sink = Sink()
    writer = RecordWriter(sink)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    path = DATA / "tensorboard_reference.txt"
    path.write_text(b"".join(sink).hex() + "\n")
    print(f"{path.name}: {len(b''.join(sink))} bytes in {len(events)} records")


def compare(folder):
    from tbparse import SummaryReader
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    names = [name for name in records[0] if name not in ("epoch", "best")]
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert sorted(accumulator.Tags()["scalars"]) == sorted(names), accumulator.Tags()
    frame = SummaryReader(str(folder)).scalars
    compared = 0
    for name in names:
        expected = [(r["epoch"], struct.unpack("f", struct.pack("f", r[name]))[0]) for r in records]
        seen = [(event.step, event.value) for event in accumulator.Scalars(name)]
        assert seen == expected, (name, seen[:3], expected[:3])
        rows = frame[frame.tag == name]
        assert list(zip(rows.step, rows.value)) == expected, name
        compared += len(expected)
    print(f"{compared} values of {len(records)} epochs are the same in TensorBoard and tbparse")


if __name__ == "__main__":
    golden() if sys.argv[1:] == ["--golden"] else compare(sys.argv[1])
