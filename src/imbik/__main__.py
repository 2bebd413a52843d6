"""``python -m imbik``: the same as the command ``imbik``."""

from imbik.cli.app import main

main()
