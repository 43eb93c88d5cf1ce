"""python -m fastneg, as torchrun calls it."""

import sys

from fastneg.recipes.cli import main

if __name__ == "__main__":
    sys.exit(main())
