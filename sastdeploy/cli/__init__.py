"""The command line: parse, one library call, print. The only package that knows click."""

from sastdeploy.cli.main import main

__all__ = ["main"]
