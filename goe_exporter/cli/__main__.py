"""`python -m goe_exporter.cli` is the command `goe-exporter`."""

from goe_exporter.cli.entry import main

if __name__ == "__main__":
    main()
