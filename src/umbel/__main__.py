"""``python -m umbel``: the command line where its script is not on the path."""

from umbel.cli.main import main

if __name__ == "__main__":
    main(program="python -m umbel")
