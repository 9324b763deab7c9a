"""``python -m tests.fuzz``: hostile bytes against everything that reads bytes, and a table of what came of it.

Exit status 1 if an exception went unhandled, an input took more than 50 ms of CPU, or memory grew.
"""

import argparse
import gc
import logging
import sys

from tests.fuzz import street, targets
from tests.fuzz.harness import Target, examine_all, table

ALL: list[Target] = [*targets.TARGETS, *street.TARGETS]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs over all targets together (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120.0, help="stop after about so long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another number, other inputs (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to see one again (default: %(default)s)")
    parser.add_argument(
        "--target", action="append", choices=[target.name for target in ALL], help="only this one; may be repeated"
    )
    arguments = parser.parse_args()
    chosen = [target for target in ALL if arguments.target is None or target.name in arguments.target]
    logging.disable(logging.CRITICAL)  # what is refused is logged, a million times
    gc.collect()
    gc.freeze()
    outcomes = list(examine_all(chosen, arguments.inputs, arguments.seconds, arguments.seed, arguments.first))
    for failure in (failure for outcome in outcomes for failure in outcome.failures):
        sys.stdout.write(failure + "\n\n")
    sys.stdout.write(table(outcomes) + "\n")
    return 0 if all(outcome.sound for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
