"""Scale a family of networks: python tools/scale.py {search} --help"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ghostlab.cli import guarded

Action = Callable[[argparse.Namespace], None]


def main(arguments: list[str]) -> int:
    """Parse, and call one function."""
    top = argparse.ArgumentParser(prog="tools/scale.py", description="Make a family of networks deeper, wider, larger.")
    top.add_argument("what", choices=COMMANDS, help="each has a --help of its own")
    what = top.parse_args(arguments[:1]).what
    parser = argparse.ArgumentParser(prog=f"tools/scale.py {what}")
    action = COMMANDS[what](parser)
    given = parser.parse_intermixed_args(arguments[1:])
    return guarded(lambda: action(given))


def search(parser: argparse.ArgumentParser) -> Action:
    """Train what has the same MACs, and say which factors of depth, width and resolution are best."""
    parser.add_argument("--family", required=True, help="as model= of train.py: ghostnetv2, efficientnet_b0, ...")
    parser.add_argument("--budget", default="2x", help="times the MACs of the base (default: 2x)")
    parser.add_argument("--solve", default="resolution", help="what the budget decides: resolution (default) or width")
    parser.add_argument("--step", type=float, default=0.1, help="of the grid over the other two (default: 0.1)")
    parser.add_argument("--multiple", type=int, default=8, help="image sizes are multiples of this (default: 8)")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of MACs, as part of the budget (default: 0.1)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each candidate (default: 1)")
    parser.add_argument("--exponent", type=float, default=-0.07, help="of MACs in the objective (default: -0.07)")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and train nothing")
    parser.add_argument("overrides", nargs="*", help="of the base and of every run, as for train.py: data=eurosat ...")

    def action(given: argparse.Namespace) -> None:
        from ghostlab.scaling.budget import Rules
        from ghostlab.scaling.candidates import parse_budget
        from ghostlab.scaling.search import search
        from ghostlab.scaling.settings import Wanted

        rules = Rules(parse_budget(given.budget), given.solve, given.step, given.multiple, given.tolerance)
        wanted = Wanted(given.family, rules, given.seeds, given.exponent, tuple(given.overrides))
        search(wanted, ["python", "tools/scale.py", *sys.argv[1:]], given.dry_run)

    return action


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Action]] = {
    "search": search,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
