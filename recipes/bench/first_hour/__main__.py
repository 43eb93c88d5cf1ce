"""python -m fastneg.recipes.bench.first_hour --out DIR: the same without the package Fire."""

from __future__ import annotations

import argparse
import sys

from fastneg.config import ConfigError
from fastneg.config.base import field_docs
from fastneg.recipes.bench.first_hour.options import FirstHourOptions, check


def main(arguments=None):
    """Measure what the arguments ask for and print the rows; returns the exit code."""
    docs = field_docs(FirstHourOptions)
    parser = argparse.ArgumentParser(prog="python -m fastneg.recipes.bench.first_hour")
    parser.add_argument("--out", required=True, help=docs["out"])
    parser.add_argument("--stages", help=docs["stages"])
    parser.add_argument("--budget", type=float, help=docs["budget"])
    parser.add_argument("--resume", action="store_true", help=docs["resume"])
    parser.add_argument("--page", action="store_true", help=docs["page"])
    given = vars(parser.parse_args(arguments))
    try:
        check(**given)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    from fastneg.recipes.bench.first_hour.run import bench_first_hour
    from fastneg.recipes.bench.run import row_text

    for row in bench_first_hour(**given):
        print(row_text(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
