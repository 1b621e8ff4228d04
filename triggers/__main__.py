"""The command line as a module: `python -m triggers`."""

from triggers.cli.main import main

if __name__ == "__main__":
    main()
