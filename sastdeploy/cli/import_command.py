"""``sastdeploy import``."""

from __future__ import annotations

from pathlib import Path

import click

from sastdeploy.cli.arguments import pasted, wrote
from sastdeploy.cli.options import FORCE, JSON, binning_options, window_us


def _number_or_word(context: click.Context, option: click.Parameter, value: str | None) -> str | int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 20 else value


@click.command()
@click.argument("file", type=click.Path())
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    required=True,
    help="Network to write, for compile, evaluate and inspect.",
)
@click.option(
    "--dialect",
    default=None,
    help="Framework whose neurons they are.  [default: recognised where FILE leaves no doubt]",
)
@click.option("--dt", type=float, default=None, help="Seconds of a step.  [default: the dialect's]")
@click.option(
    "--reset",
    type=click.Choice(["subtract", "zero", "none", "refractory"]),
    default=None,
    help="Reset after a spike; refractory: to zero, and nothing arrives in the next step.  [default: the dialect's]",
)
@click.option(
    "--reset-delay",
    type=click.IntRange(0, 1),
    default=None,
    help="Steps from a spike to its reset.  [default: the dialect's]",
)
@click.option(
    "--spikes-per-step",
    metavar="one|many|NUMBER",
    callback=_number_or_word,
    default=None,
    help="Most spikes of a neuron in a step: one, many (127), or how many.  [default: the dialect's]",
)
@click.option(
    "--gain", type=click.Choice(["file", "one", "leak"]), default=None,
    help="What a leaky neuron's input is multiplied by: r dt/tau of the file, 1, or 1 - alpha (leak).  [default: the dialect's]",
)  # fmt: skip
@click.option(
    "--floor", metavar="V", type=float, default=None,
    help="Lowest value of membranes after the reset, in FILE's unit, as sinabs' min_v_mem.  [default: none]",
)  # fmt: skip
@click.option(
    "--readout", type=click.Choice(["last", "max"]), default=None,
    help="Scores of a network that ends in LI, CubaLI or I: membranes at the last step, or their maximum.  [default: last]",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(), default=None,
    help="QONNX or QCDQ file (.onnx) of the same network, whose integers and scales are taken as weights.  [default: FILE's own]",
)  # fmt: skip
@click.option(
    "--dataset",
    default=None,
    help="Data set, or folder, that gives sensor and classes.  [default: not stated]",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    default=None,
    help="Names of the classes in the order of outputs.  [default: the data set's, or 0, 1, ...]",
)
@click.option("--time-bins", type=click.IntRange(1, 1000), default=10, show_default=True, help="Time bins T.")
@binning_options
@click.option(
    "--clip", type=click.IntRange(1, 127), default=127, show_default=True, help="Counts above it are clipped."
)
@click.option(
    "--divisor",
    type=float,
    default=1.0,
    show_default=True,
    help="The network sees counts divided by it: 1, or at least --clip.",
)
@click.option(
    "--check",
    "recorded",
    type=click.Path(),
    default=None,
    help="Compare with the spikes that the framework recorded: .npz of input [N, T, ...] and each neuron node's spikes by name.",
)
@FORCE
@JSON
def command(
    file: str, out: str, dialect: str | None, dt: float | None, reset: str | None, reset_delay: int | None,
    spikes_per_step: str | int | None, gain: str | None, floor: float | None, readout: str | None, weights: str | None, dataset: str | None, classes: str | None, time_bins: int,
    window: float | None, binning: str, events_per_bin: int | None, clip: int, divisor: float, recorded: str | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Turn FILE, a network of another framework in NIR, or of lava-dl (.net), into one that compile takes.

    A NIR file holds neither spike test nor reset nor dt. Prints what is taken for granted, and each layer.
    """
    import json
    from dataclasses import replace

    from sastdeploy import Framing, InputError, from_lava, from_nir, save_network
    from sastdeploy._files import atomic
    from sastdeploy.cli.network_tables import network_record, print_network
    from sastdeploy.compiler.passes.check_neurons import accepting
    from sastdeploy.exchange.recorded import check_recorded

    atomic.check_writable(Path(out), inputs=[each for each in (file, recorded, weights) if each])
    named = None if classes is None else tuple(name.strip() for name in classes.split(","))
    framing = Framing(
        dataset, time_bins, window_us(window), clip, divisor, named, binning=binning, events_per_bin=events_per_bin
    )  # fmt: skip
    rules = {
        "dialect": dialect, "dt": dt, "reset": reset, "reset_delay": reset_delay, "spikes_per_step": spikes_per_step, "gain": gain, "floor": floor,
        "readout": readout, "weights": weights,
    }  # fmt: skip
    if Path(file).suffix.lower() == ".net":
        given = [f"--{name.replace('_', '-')}" for name, value in rules.items() if value is not None]
        if given:
            are, them = ("is", "it") if len(given) == 1 else ("are", "them")
            raise InputError(
                f"{file}: a .net file says its neurons in full; {', '.join(given)} {are} for NIR files. Leave {them} out."
            )
        network = from_lava(file, framing=framing)
    else:
        network = from_nir(file, framing=framing, **rules)  # type: ignore[arg-type]  # each of its own option's type
    checked = check_recorded(network, recorded) if recorded else None
    if checked:
        network = replace(network, provenance={**network.provenance, "checked": checked})
    was_there = Path(out).is_file()
    save_network(out, network, force=force)
    if as_json:
        click.echo(json.dumps({"file": file, "out": out, **network_record(network)}, indent=2))
        return
    print_network(network, file)
    if checked:
        ties = f", {checked['ties']} of them decided by rounding, at the threshold" if checked["ties"] else ""
        click.echo(
            f"Compared with {recorded}: {checked['spikes']:,} spikes of {checked['layers']} layers in {checked['recordings']} x "
            f"{checked['steps']} steps, all equal{ties}."
        )
    click.echo(
        f"{wrote(out, was_there, force)}\nNext: {' '.join(['sastdeploy compile', pasted(out), *accepting(network.graph)])}"
    )
