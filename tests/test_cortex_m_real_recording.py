"""The committed programs on a Cortex-M4 that qemu simulates, asked about a real N-MNIST recording."""

import re

import pytest
from test_cortex_m import HOME, made, needs_tools

from sastdeploy import bin_events, export_c, load_program, read_events
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine


@needs_tools
@pytest.mark.parametrize("name", ["sast.loihi_int8", "sast.aggressive_int4", "conv.sast.loihi_int8"])
def test_a_real_recording_has_the_references_answer_on_the_processor(name, tmp_path, shared_data):
    program = load_program(HOME / "benchmarks" / "paper" / "small_table4" / f"{name}.onnx")
    own = program.preprocessing
    events = read_events(shared_data / "recordings" / "sample_nmnist.bin")
    counts = bin_events(events, own.sensor_size, own.frame_size, own.time_bins)[None]
    exported = export_c(program, tmp_path / "c", counts, name="net")
    done = made(exported.folder)
    assert done.returncode == 0, done.stderr
    result = engine.run(program, Frames.from_dense(counts), engine="reference")
    best, scores = int(result.predicted[0]), " ".join(map(str, result.scores[0].tolist()))
    assert done.stdout == f"{best} {program.classes[best]}: {scores}\n"
    (instructions,) = re.findall(r"^(\d+) instructions$", done.stderr, re.MULTILINE)
    assert int(instructions) > result.synops.sum()
