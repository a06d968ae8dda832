"""`python -m rosetta_ui`: the engine without a browser."""

from rosetta_ui.cli import main

if __name__ == "__main__":
    main()
