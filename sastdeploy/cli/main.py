"""The top command. Sub-commands are imported when they are called, so that --help is immediate."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

import click

from sastdeploy import InputError, SastdeployError, __version__
from sastdeploy._files.reading import printable
from sastdeploy.cli.arguments import checked
from sastdeploy.errors import did_you_mean

COMMANDS = {
    "quickstart": ("quickstart", "From nothing to a first result: simulate, train, compile, compare."),
    "data": ("data", "List, fetch, make, check and show event recordings."),
    "train": ("train", "Train a network on frames: baseline, SAST, ASAM, or random steps."),
    "evaluate": ("evaluate", "Measure surrogate and hard accuracy of a checkpoint, and the gap."),
    "analyse": ("analyse", "Measure margins, contraction, activity and bounds of a checkpoint."),
    "import": ("import", "Turn a network of another framework into one that compile takes."),
    "inspect": ("inspect", "Show layers, parameters, fan-outs and largest SynOps of a checkpoint."),
    "compile": ("compile", "Turn a checkpoint into an integer program for a hardware profile."),
    "profiles": ("profiles", "List, show, check and create hardware profiles."),
    "simulate": ("simulate", "Simulate an integer program on recordings, bit by bit."),
    "export": ("export", "Write an integer program as C99, Verilog, test vectors or NIR."),
    "verify": ("verify", "Compare every engine on an integer program, bit by bit."),
    "sweep": ("sweep", "Run a grid of trainings, each once; resume; report."),
    "robustness": (
        "robustness",
        "Measure accuracy on corrupted recordings, in floats and as integer programs.",
    ),
    "doctor": ("doctor", "Show versions, threads, SIMD, and what is missing."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"sastdeploy.cli.{COMMANDS[name][0]}_command"
        ).command
        return checked(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            ctx.fail(
                f"No such command '{args[0]}'.{did_you_mean(args[0], COMMANDS)} Commands: {', '.join(COMMANDS)}."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="sastdeploy")
def cli() -> None:
    """Take a spiking network from a trained checkpoint to fixed-point hardware, and see what arrives there."""


def _how_to_go_on(words: list[str]) -> str:
    """Return what the user types to go on after an interruption of a command."""
    if words[:1] == ["train"]:
        if "--resume" in words:
            return "The same command goes on."
        return "The same command with --resume goes on from the last whole epoch."
    if words[:1] == ["quickstart"] or words[:2] in (["data", "make"], ["sweep", "run"]):
        return "The same command goes on."
    return "The same command starts anew."


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the one place where errors become exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # A path may hold bytes that are no text.
    try:
        status = cli.main(args=arguments, prog_name="sastdeploy", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        _end(f"Interrupted. {_how_to_go_on(sys.argv[1:] if arguments is None else arguments)}", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SastdeployError as error:
        _end(f"Error: {error}", error.exit_code)
    except BrokenPipeError:  # Whoever read the output has had enough.
        _end("", 1)
    except OSError as error:
        where = "standard output" if error.filename is None else os.fsdecode(error.filename)
        _end(f"Error: {where}: {error.strerror or error}.", InputError.exit_code)


def _end(message: str, code: int) -> NoReturn:
    """Exit with a last message on stderr, in which nothing of a file's text is obeyed by the terminal."""
    with suppress(OSError):
        if message:
            click.echo(printable(message), err=True)
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try once more at its end, and tell of it in its own words.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
