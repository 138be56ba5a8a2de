"""The verifier: every rule has a program that breaks it, and a program on the edge that does not."""

import dataclasses
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, programs
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy.errors import InputError
from sastdeploy.program.check import check_program
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.limits import worst_gained, worst_sums
from sastdeploy.program.records import ConvLif, DenseLif, Program, Readout, SumPool
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import reference
from tests.small_programs import conv_program, int32, lif, small_program

LAST = ". Compile the checkpoint again, or mend the tool that wrote the program."


def with_(**changes) -> Program:
    return dataclasses.replace(small_program(), **changes)


def with_layer(**changes) -> Program:
    return with_(layers=(dataclasses.replace(small_program().layers[0], **changes),))


def with_lif(**changes) -> Program:
    return with_layer(lif=lif(2, **changes))


def with_readout(**changes) -> Program:
    return with_(readout=dataclasses.replace(small_program().readout, **changes))


def with_input(**changes) -> Program:
    """Change the preprocessing without its own checks, as a reader with a bug could."""
    record = dataclasses.replace(small_program().preprocessing)
    for name, value in changes.items():
        object.__setattr__(record, name, value)
    return with_(preprocessing=record)


def with_conv(position: int, **changes) -> Program:
    layers = list(conv_program().layers)
    layers[position] = dataclasses.replace(layers[position], **changes)
    return dataclasses.replace(conv_program(), layers=tuple(layers))


def deep(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


def weight(*rows) -> np.ndarray:
    return np.array(rows, np.int8)


PLAIN = "finite numbers, text, true, false, null, and lists and dicts of these, nested up to 32 deep"
NAMES = "1 to 64 letters, digits and _ . -, not starting with . or -"
HIDDEN, READOUT = "layer 'hidden'", "readout 'readout'"

REFUSED = {
    "program: a dict. Allowed: a Program record": dict,
    "program: name is ''. Allowed: a text of 1 to 1000 printable characters": lambda: with_(name=""),
    "program: name is 3. Allowed: a text of 1 to 1000 printable characters": lambda: with_(name=3),
    "program: dataset is None. Allowed: a text of 1 to 1000 printable characters": lambda: with_(
        dataset=None
    ),
    "program: costs is a list. Allowed: a dict of plain values": lambda: with_(costs=[]),
    f"costs.a: nan is a float. Allowed: {PLAIN}": lambda: with_(costs={"a": math.nan}),
    f"profile.a: (1,) is a tuple. Allowed: {PLAIN}": lambda: with_(profile={"a": (1,)}),
    f"provenance.a[1]: np.int64(1) is a int64. Allowed: {PLAIN}": lambda: with_(
        provenance={"a": [0, np.int64(1)]}
    ),
    "provenance: the key 1 is a int. Allowed: text keys": lambda: with_(provenance={1: 2}),
    f"costs.a{'[0]' * 31}: [[[[[[[[[[]]]]]]]]]] is a list. Allowed: {PLAIN}": lambda: with_(
        costs={"a": deep(40)}
    ),
    "program: name is '\\x1b[2J'. Allowed: a text of 1 to 1000 printable characters": lambda: with_(
        name="\x1b[2J"
    ),
    "costs.a: '\\ud800' is no valid Unicode. Allowed: text without lone surrogates": lambda: with_(
        costs={"a": "\ud800"}
    ),
    "preprocessing: a dict. Allowed: a Preprocessing record": lambda: with_(preprocessing={}),
    "preprocessing: frame_size is [2, 1]. Allowed: 2 whole numbers of at least 1": lambda: with_input(
        frame_size=[2, 1]
    ),
    "preprocessing: sensor_size is (2, 1, 0). Allowed: 3 whole numbers of at least 1": lambda: with_input(
        sensor_size=(2, 1, 0)
    ),
    "preprocessing: time_bins is True. Allowed: a whole number, 1 to 1000": lambda: with_input(
        time_bins=True
    ),
    "preprocessing: c_clip is 128. Allowed: a whole number, 1 to 127": lambda: with_input(c_clip=128),
    "preprocessing: divisor is nan. Allowed: a finite number of at least c_clip (3)": lambda: with_input(
        divisor=math.nan
    ),
    "preprocessing: divisor is 2.0. Allowed: a finite number of at least c_clip (3)": lambda: with_input(
        divisor=2.0
    ),
    "preprocessing: normalisation is 'sample_max', which needs the whole recording before its first step. "
    "Allowed: 'fixed', which hardware can do event by event": lambda: with_input(normalisation="sample_max"),
    "preprocessing: normalisation is 'x'. Allowed: 'fixed'": lambda: with_input(normalisation="x"),
    "preprocessing: a frame has 67108864 values. Allowed: at most 16777216": lambda: with_input(
        frame_size=(8192, 8192)
    ),
    "program: there is no layer. Allowed: a tuple of at least one layer before the readout": lambda: with_(
        layers=()
    ),
    "program: a layer is a Readout. Allowed: DenseLif, ConvLif, SumPool, RecurrentLif or Delay": lambda: (
        with_(layers=(small_program().readout,))
    ),
    "program: the readout is a NoneType. Allowed: a Readout": lambda: with_(readout=None),
    f"program: a layer is named 'a/b'. Allowed: {NAMES}": lambda: with_layer(name="a/b"),
    f"program: a layer is named ''. Allowed: {NAMES}": lambda: with_layer(name=""),
    f"program: a layer is named 'a\\n'. Allowed: {NAMES}": lambda: with_layer(name="a\n"),
    "program: two layers are named 'readout'. Allowed: a different name for every layer": lambda: with_layer(
        name="readout"
    ),
    "layer 'p': a sum pool is the first layer. Allowed: dense, conv, recurrent or delay there": lambda: with_(
        layers=(SumPool("p", 1), *small_program().layers)
    ),
    "layer 'p': a sum pool is the last layer. Allowed: dense, conv or recurrent there": lambda: with_(
        layers=(*small_program().layers, SumPool("p", 1))
    ),
    "layer 'pool': kernel is 0. Allowed: 1 to 4 on a 2 x 4 x 4 input": lambda: with_conv(1, kernel=0),
    "layer 'pool': kernel is 5. Allowed: 1 to 4 on a 2 x 4 x 4 input": lambda: with_conv(1, kernel=5),
    "layer 'pool2': a window of 4 x 4 inputs up to 16 sums to 256. Allowed: sums up to 127": lambda: (
        dataclasses.replace(
            conv_program(),
            preprocessing=Preprocessing((16, 16, 1), (16, 16), 2, 1, 1.0),
            layers=(
                conv_program().layers[0],
                SumPool("pool", 4),
                SumPool("pool2", 4),
                *conv_program().layers[2:],
            ),
        )
    ),
    f"{HIDDEN}: weight_bits is 9. Allowed: a whole number, 2 to 8": lambda: with_layer(weight_bits=9),
    f"{HIDDEN}: weight_bits is 4.0. Allowed: a whole number, 2 to 8": lambda: with_layer(weight_bits=4.0),
    f"{HIDDEN}: weight is int64 of shape [2, 2]. Allowed: an int8 array of 2 dimensions": lambda: with_layer(
        weight=np.zeros((2, 2), np.int64)
    ),
    f"{HIDDEN}: weight is a list. Allowed: an int8 array of 2 dimensions": lambda: with_layer(weight=[]),
    f"{HIDDEN}: weight has shape 0 x 2. Allowed: at least 1 along every dimension": lambda: with_layer(
        weight=np.zeros((0, 2), np.int8)
    ),
    f"{HIDDEN}: weight[1, 0] is -8. Allowed: -7 to 7 in 4 bits": lambda: with_layer(
        weight=weight([1, 2], [-8, 8])
    ),
    f"{HIDDEN}: weight[0, 1] is -128. Allowed: -127 to 127 in 8 bits": lambda: with_layer(
        weight=weight([1, -128], [0, 0]), weight_bits=8
    ),
    f"{HIDDEN}: weight has 3 columns. Allowed: 2, one per value of its 1 x 1 x 2 input": lambda: with_layer(
        weight=weight([1, 2, 3], [1, 2, 3])
    ),
    "layer 'conv': weight reads 2 channels. Allowed: 1, as in its 1 x 4 x 4 input": lambda: with_conv(
        0, weight=np.zeros((2, 2, 3, 3), np.int8)
    ),
    "layer 'conv': stride is (0, 1). Allowed: a tuple of two whole numbers, 1 to 127": lambda: with_conv(
        0, stride=(0, 1)
    ),
    "layer 'conv': padding is [1, 1]. Allowed: a tuple of two whole numbers, 0 to 127": lambda: with_conv(
        0, padding=[1, 1]
    ),
    "layer 'conv': padding is (-1, 1). Allowed: a tuple of two whole numbers, 0 to 127": lambda: with_conv(
        0, padding=(-1, 1)
    ),
    "layer 'conv': kernel is 5 along W. Allowed: at most 4, the padded input": lambda: with_conv(
        0, weight=np.zeros((2, 1, 3, 5), np.int8), padding=(0, 0)
    ),
    "layer 'conv': an output of 2 x 4096 x 4096 has 33554432 values. Allowed: at most 16777216": lambda: (
        dataclasses.replace(
            conv_program(), preprocessing=Preprocessing((4096, 4096, 1), (4096, 4096), 2, 1, 1.0)
        )
    ),
    f"{HIDDEN}: lif is a NoneType. Allowed: a Lif record": lambda: with_layer(lif=None),
    f"{HIDDEN}: membrane is a str. Allowed: a QFormat of 2 to 24 bits": lambda: with_lif(membrane="Q8.8"),
    f"{HIDDEN}: multiplier is int64 of shape [2]. Allowed: int32 of shape [2], one per output channel": lambda: (
        with_lif(multiplier=np.array([1, 1]))
    ),
    f"{HIDDEN}: multiplier[1] is 0. Allowed: 1 to 32767": lambda: with_lif(multiplier=int32(1, 0)),
    f"{HIDDEN}: multiplier[0] is 32768. Allowed: 1 to 32767": lambda: with_lif(multiplier=int32(32768, 1)),
    f"{HIDDEN}: shift[0] is -1. Allowed: 0 to 46": lambda: with_lif(shift=int32(-1, 0)),
    f"{HIDDEN}: shift[1] is 47. Allowed: 0 to 46": lambda: with_lif(shift=int32(0, 47)),
    f"{HIDDEN}: bias[1] is 32768. Allowed: -32768 to 32767": lambda: with_lif(bias=int32(0, 32768)),
    f"{HIDDEN}: bias is int32 of shape [3]. Allowed: int32 of shape [2], one per output channel": lambda: (
        with_lif(bias=int32(0, 0, 0))
    ),
    f"{HIDDEN}: threshold[0] is 0. Allowed: 1 to 32767": lambda: with_lif(threshold=int32(0, 1)),
    f"{HIDDEN}: threshold[1] is 32768. Allowed: 1 to 32767": lambda: with_lif(threshold=int32(1, 32768)),
    f"{HIDDEN}: leak_shift is 16. Allowed: a whole number, 0 to 15": lambda: with_lif(leak_shift=16),
    f"{HIDDEN}: leak_multiplier is 3. Allowed: a whole number, 0 to 2 (2^leak_shift: no growth)": lambda: (
        with_lif(leak_multiplier=3)
    ),
    f"{HIDDEN}: leak_multiplier is -1. Allowed: a whole number, 0 to 2 (2^leak_shift: no growth)": lambda: (
        with_lif(leak_multiplier=-1)
    ),
    f"{HIDDEN}: leak_rounding is 'up'. Allowed: floor, toward_zero, nearest": lambda: with_lif(
        leak_rounding="up"
    ),
    f"{HIDDEN}: overflow is 'trap'. Allowed: saturate, wrap": lambda: with_lif(overflow="trap"),
    f"{HIDDEN}: spike_test is '<'. Allowed: >=, >": lambda: with_lif(spike_test="<"),
    f"{HIDDEN}: reset is 'half'. Allowed: subtract, zero, none, refractory": lambda: with_lif(reset="half"),
    f"{HIDDEN}: reset_delay is 2. Allowed: 0 or 1": lambda: with_lif(reset_delay=2),
    f"{HIDDEN}: the membrane update of output 1 can reach 2151481225. Allowed: below 2^31 = 2147483648": lambda: (
        huge_gain(517)
    ),
    f"{READOUT}: weight_bits is 1. Allowed: a whole number, 2 to 8": lambda: with_readout(weight_bits=1),
    f"{READOUT}: global_sum_pool is 1. Allowed: true or false": lambda: with_readout(global_sum_pool=1),
    f"{READOUT}: weight has 3 columns. Allowed: 2, one per value of the last layer's 2 x 1 x 1 output": lambda: (
        with_readout(weight=weight([1, 2, 3], [1, 2, 3]))
    ),
    f"{READOUT}: weight has 3 columns. Allowed: 2, one per channel of the last layer's 2 x 1 x 1 output": lambda: (
        with_readout(weight=weight([1, 2, 3], [1, 2, 3]), global_sum_pool=True)
    ),
    "program: there are 1 classes. Allowed: 2, one per row of the readout's weight": lambda: with_(
        classes=("a",)
    ),
    "program: there are ['a', 'b'] classes. Allowed: 2, one per row of the readout's weight": lambda: with_(
        classes=["a", "b"]
    ),
    "program: a class name is 7. Allowed: a text of 1 to 1000 printable characters": lambda: with_(
        classes=("a", 7)
    ),
    "program: two classes have the same name. Allowed: a different name for every class": lambda: with_(
        classes=("a", "a")
    ),
    f"{READOUT}: multiplier[0] is 0. Allowed: 1 to 32767": lambda: with_readout(multiplier=int32(0, 1)),
    f"{READOUT}: shift[0] is 47. Allowed: 0 to 46": lambda: with_readout(shift=int32(47, 1)),
    f"{READOUT}: bias is float64 of shape [2]. Allowed: int32 of shape [2], one per output channel": lambda: (
        with_readout(bias=np.zeros(2))
    ),
    f"{READOUT}: fraction_bits is 32. Allowed: a whole number, 0 to 31": lambda: with_readout(
        fraction_bits=32
    ),
    f"{READOUT}: the score of output 1 can reach 2147483648. Allowed: below 2^31 = 2147483648": lambda: (
        huge_bias(1 << 30)
    ),
}


def huge_gain(weights: int) -> Program:
    """Inputs of 127, weights that add up to ``weights``, gain 32767: 516 stay below 2^31, 517 do not.

    517 * 127 * 32767 = 2151448453, and |u| up to 32768 and the threshold 4 give 2151481225.
    516 * 127 * 32767 = 2147287044, in all 2147319816 < 2147483648.
    """
    rows = np.zeros((2, 80), np.int8)
    rows[1, :73], rows[1, 73] = 7, weights - 511
    layer = DenseLif("hidden", rows, 4, lif(2, multiplier=int32(1, 32767), shift=int32(0, 0)))
    return with_(
        preprocessing=Preprocessing((80, 1, 1), (80, 1), 2, 127, 127.0),
        layers=(layer,),
    )


def huge_bias(bias: int) -> Program:
    """Two bins: the score of class 1 reaches its weighted sum's 0 plus 2 * bias."""
    silent = np.zeros((2, 2), np.int8)
    return with_readout(weight=silent, bias=int32(0, -bias), shift=int32(0, 0))


@pytest.mark.parametrize("message", REFUSED)
def test_every_rule_refuses_with_its_message(message):
    with pytest.raises(InputError) as caught:
        check_program(REFUSED[message]())
    assert str(caught.value) == message + LAST


@pytest.mark.parametrize(
    "program",
    [
        small_program(),
        conv_program(),
        huge_gain(516),
        huge_bias((1 << 30) - 1),
        with_lif(threshold=int32(32767, 1), bias=int32(-32768, 32767)),
        with_lif(leak_multiplier=2),
        with_lif(shift=int32(46, 46), multiplier=int32(32767, 32767)),
    ],
)
def test_programs_on_the_edge_are_accepted(program):
    check_program(program)


def test_a_weighted_sum_beyond_32_bits_is_refused():
    # 140,000 weights of 127 on counts of 127: 2,258,060,000.
    side = 140_000
    rows = np.full((2, side), 127, np.int8)
    wide = with_(
        preprocessing=Preprocessing((side, 1, 1), (side, 1), 2, 127, 127.0),
        layers=(DenseLif("hidden", rows, 8, lif(2, shift=int32(40, 40))),),
    )
    with pytest.raises(InputError, match=re.escape("the weighted sum of output 0 can reach 2258060000")):
        check_program(wide)


def test_a_readout_sum_beyond_32_bits_is_refused():
    # 1,000 bins, 17,000 spikes per bin, weight 127: 2,159,000,000.
    rows = np.zeros((2, 17_000, 1, 1), np.int8)[:, :1]
    conv = ConvLif("hidden", rows, 2, (1, 1), (0, 0), lif(2))
    program = with_(
        preprocessing=Preprocessing((17_000, 1, 1), (17_000, 1), 1000, 1, 1.0),
        layers=(conv,),
        readout=Readout(
            "readout", weight([127, 0], [0, 1]), 8, int32(1, 1), int32(9, 9), int32(0, 0), 0, True
        ),
    )
    with pytest.raises(InputError, match=re.escape("the weighted sum of output 0 can reach 2159000000")):
        check_program(program)


def test_worst_sums_and_gains_by_hand():
    # Positive weights 3 + 4, negative -2 - 9: the worst of (7, 11) times 5.
    assert worst_sums(weight([3, -2, 4, -9]), 5).tolist() == [55]
    # (55 * 3 + 2) >> 2 = 167 >> 2 = 41; shift 0: 165.
    assert worst_gained(np.array([55, 55]), int32(3, 3), int32(2, 0)).tolist() == [41, 165]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_run_exceeds_what_was_proven(data):
    program = data.draw(programs(largest_side=4, most_layers=2))
    check_program(program)
    first = program.layers[0]
    assume(first.lif is not None)
    proven = worst_sums(first.weight, program.preprocessing.c_clip)
    frames = data.draw(frames_for(program))
    counts = np.minimum(frames.dense().astype(np.int64), program.preprocessing.c_clip)
    for x in counts.reshape(-1, *program.preprocessing.frame_shape):
        acc = np.abs(first.sums(x)).reshape(len(proven), -1).max(axis=1)
        assert (acc <= proven).all()
    assert reference.run(program, frames).scores.dtype == np.int32


def test_enumerations_are_the_ones_the_records_name():
    for rounding in Rounding:
        for overflow in Overflow:
            check_program(with_lif(leak_rounding=rounding, overflow=overflow, membrane=QFormat(4, 4)))


@pytest.mark.parametrize(("last", "worst"), [(7, None), (8, 2**31), (-8, None)])
def test_a_sum_of_exactly_the_largest_int32_is_accepted(last, worst):
    """127 x 16,909,320 + 7 = 2^31 - 1, a prime: only weights of one sign under inputs of 1 reach it."""
    flat = np.zeros(4350 * 4350, np.int8)
    flat[:16_909_320], flat[16_909_320] = 127, last
    lif = tiny_lif(multiplier=np.array([1], np.int32), shift=np.array([20], np.int32))
    layer = ConvLif("wide", flat.reshape(1, 1, 4350, 4350), 8, (1, 1), (127, 127), lif)
    program = tiny_program([layer], tiny_readout(), frame=(1, 4096, 4096), c_clip=1)
    if worst is None:
        check_program(program)
        return
    with pytest.raises(
        InputError, match=rf"the weighted sum of output 0 can reach {worst}\. Allowed: below 2\^31"
    ):
        check_program(program)


@pytest.mark.parametrize("field", ["name", "dataset"])
def test_texts_of_a_thousand_characters_are_the_longest(field):
    check_program(replace(small_program(), **{field: "x" * 1000}))
    with pytest.raises(InputError, match=f"program: {field} is .* a text of 1 to 1000 printable characters"):
        check_program(replace(small_program(), **{field: "x" * 1001}))


def test_class_names_of_a_thousand_characters_are_the_longest():
    program = small_program()
    check_program(replace(program, classes=("x" * 1000, *program.classes[1:])))
    with pytest.raises(InputError, match=r"a class name is .* a text of 1 to 1000 printable characters"):
        check_program(replace(program, classes=("x" * 1001, *program.classes[1:])))
