"""``python -m vastnb``: the console script."""

import sys

from vastnb.api.cli import main

if __name__ == "__main__":
    sys.exit(main())
