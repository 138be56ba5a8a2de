"""``python -m sastdeploy``."""

from sastdeploy.cli.main import main

main()
