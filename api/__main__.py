"""`python -m api`, and the command `turnledger`."""

import sys

from api.cli import run


def main() -> None:
    """Run the command line of this process, and end it with the command's code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
