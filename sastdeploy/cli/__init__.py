"""The command line: parse, one library call, print. The only package that knows click."""
