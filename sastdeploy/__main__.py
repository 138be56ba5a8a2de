"""``python -m sastdeploy``."""

from sastdeploy.cli import main

main()
