"""The command line as a module: `python -m fairtrigger`."""

from fairtrigger.cli.main import main

if __name__ == "__main__":
    main()
