"""What Yosys makes of the exported Verilog: its netlist gives the program's scores, and a netlist that lost something is refused."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy import export_verilog
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import DenseLif

ABSENT = [tool for tool in ("yosys", "iverilog", "vvp", "make") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")

LEAK_REGISTER = "reg signed [LEAK_BITS-1:0] leak_product"
GAIN_REGISTER = "reg signed [GAIN_BITS-1:0] gain_product"
WIDER = {
    LEAK_REGISTER: "reg signed [LEAKED_BITS-1:0] leak_product",
    GAIN_REGISTER: "reg signed [PRODUCT_BITS-1:0] gain_product",
}
"""Registers wider than their products, of which Yosys 0.23 loses the highest bits in the multipliers of an iCE40."""


def multiplying(rounding=Rounding.FLOOR, inputs=3, neurons=2):
    """Return a program whose sums, leaks (7/8, as 14/16) and scores take multipliers of the device.

    Its currents and updates have 13 and 14 bits, as in a program of which Yosys 0.23 lost a leak's sign."""
    signs = np.where((np.arange(neurons)[:, None] + np.arange(inputs)) % 3, 1, -1)
    ones = np.ones(neurons, np.int32)
    lif = tiny_lif(
        neurons, multiplier=28_692 * ones, shift=13 * ones, bias=-7 * ones, threshold=700 * ones, leak_multiplier=14, leak_shift=4,
        leak_rounding=rounding, membrane=QFormat(12, 0), reset_delay=0,
    )  # fmt: skip
    readout = tiny_readout(
        neurons, weight=np.array([[57] * neurons, [-41] * neurons], np.int8), weight_bits=8,
        multiplier=np.full(2, 19_659, np.int32), shift=np.full(2, 11, np.int32),
    )  # fmt: skip
    layer = DenseLif("fc", (240 // inputs * signs).astype(np.int8), 8, lif)
    return tiny_program([layer], readout, (1, 1, inputs), time_bins=8)


def exported_to(folder, program):
    return export_verilog(program, folder, name="net").folder


def made(folder, target):
    return subprocess.run(["make", "-s", "-C", folder, target], capture_output=True, text=True)


def changed(folder, file, old, new):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def scores_of_the_netlist(folder):
    """Return what the test bench writes for the netlist that `make size-ice40` counts: scores and classes."""
    target = (folder / "Makefile").read_text()
    options = re.search(r"^size-ice40: SYNTH = (.*)$", target, re.M)[1]
    script = f"read_verilog -defer net_core.v net_layer.v; {options}; write_verilog -noattr netlist.v"
    subprocess.run(["yosys", "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    assert "SB_MAC16 " in (folder / "netlist.v").read_text()
    bench = (folder / "bench.v").read_text()
    # A netlist has no membranes by name.
    bench, traces = re.subn(r"    always @\(posedge clk\) if \(core\..*\n.*\n", "", bench)
    assert traces
    (folder / "bench.v").write_text(bench)
    cells = Path(shutil.which("yosys")).resolve().parents[1] / "share" / "yosys" / "ice40" / "cells_sim.v"
    # Some cells of Yosys are written in SystemVerilog; the netlist connects every port, so their defaults are left out.
    sources = ["bench.v", "netlist.v", str(cells)]
    subprocess.run(
        ["iverilog", "-g2005-sv", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "bench", *sources],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    subprocess.run(["vvp", "-n", "bench"], cwd=folder, check=True, capture_output=True)
    return (folder / "results.txt").read_text()


def expected_scores(folder):
    lines = (folder / "expected.txt").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(("scores", "predicted")))


@pytest.mark.parametrize("rounding", Rounding, ids=lambda rounding: rounding.value)
def test_the_netlist_of_an_ice40_gives_the_programs_scores(rounding, tmp_path):
    folder = exported_to(tmp_path / "v", multiplying(rounding))
    expected = expected_scores(folder)
    assert len(set(re.findall(r"scores.*", expected))) > 1, "the recordings should differ"
    assert scores_of_the_netlist(folder) == expected


@pytest.mark.parametrize("register", WIDER)
def test_a_register_that_yosys_loses_is_seen_in_the_scores_and_refused_by_make(register, tmp_path):
    folder = exported_to(tmp_path / "v", multiplying())
    changed(folder, "net_layer.v", register, WIDER[register])
    done = made(folder, "size-ice40")
    if done.returncode == 0:
        pytest.skip("this Yosys keeps the register whole")
    assert "is used but has no driver" in done.stderr
    assert (
        "size-ice40: Yosys failed, or a wire of the core is read and has no driver (see above): its netlist is not the core"
        in done.stderr
    )
    assert not (folder / "size-ice40.txt").exists()
    assert scores_of_the_netlist(folder) != expected_scores(folder)


def test_a_netlist_with_fewer_block_rams_than_the_core_needs_is_refused_by_make(tmp_path):
    program = multiplying(inputs=40, neurons=8)
    folder = exported_to(tmp_path / "v", program)
    whole = made(folder, "size-ice40")
    assert whole.returncode == 0 and "SB_RAM40_4K" in whole.stdout, whole.stderr
    # Without the first guard, what is read without a driver takes the memories with it.
    changed(folder, "Makefile", "check -assert; ", "")
    changed(folder, "net_layer.v", LEAK_REGISTER, WIDER[LEAK_REGISTER])
    done = made(folder, "size-ice40")
    if done.returncode == 0:
        pytest.skip("this Yosys keeps the register whole")
    assert re.search(
        r"size-ice40: the core's memories take [1-9]\d* block RAMs, and the netlist holds \d+: Yosys removed the others\. "
        "The netlist is wrong, or the scores need none of them",
        done.stderr,
    ), done.stderr
    assert not (folder / "size-ice40.txt").exists()


def test_what_the_guards_leave_behind_is_no_reason_to_refuse_the_folder(tmp_path):
    folder = exported_to(tmp_path / "v", multiplying())
    for device in ("ice40", "ecp5"):
        done = made(folder, f"size-{device}")
        assert done.returncode == 0, done.stderr
        for end in ("rams", "left", "stat"):
            (folder / f"size-{device}.{end}").write_text("")
    assert exported_to(folder, multiplying()) == folder
