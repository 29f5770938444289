"""Make networks deeper, wider and larger."""

from __future__ import annotations

import argparse
import sys

from ghostlab.cli.guard import Command, subcommand


def show(parser: argparse.ArgumentParser) -> Command:
    """One network, scaled."""
    parser.add_argument("model", help="such as efficientnet_b0, mobilenetv2, resnet50, ghostnetv2")
    parser.add_argument("--phi", type=float, help="compound scaling: depth 1.2^phi, width 1.1^phi, resolution 1.15^phi")
    parser.add_argument("--official", action="store_true", help="with --phi: the factors of the published B<phi>")
    for base in ("alpha", "beta", "gamma"):
        parser.add_argument(f"--{base}", type=float, help="another base than the paper's, with --phi")
    for factor in ("depth", "width", "resolution"):
        parser.add_argument(f"--{factor}", type=float, help="instead of --phi (default: 1)")
    parser.add_argument("--multiple", type=int, default=1, help="round image sizes to multiples (default: 1)")
    parser.add_argument("overrides", nargs="*", help="such as data=cifar10 (default: data=imagenet)")

    def run(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.scaling import factors_of_arguments, print_scaled

        print_scaled(given.model, factors_of_arguments(vars(given)), given.multiple, given.overrides)

    return run


def table(parser: argparse.ArgumentParser) -> Command:
    """The papers' tables of scaled networks, computed again."""
    parser.add_argument("--multiple", type=int, default=1, help="round image sizes to multiples (default: 1)")

    def run(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.scaling_tables import print_paper_tables

        print_paper_tables(given.multiple)

    return run


def search(parser: argparse.ArgumentParser) -> Command:
    """Which factors are best at the same MACs, by training."""
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

    def run(given: argparse.Namespace) -> None:
        from ghostlab.studies.scaling.budget import Rules, parse_budget
        from ghostlab.studies.scaling.runs import SearchConfig
        from ghostlab.studies.scaling.search import search

        rules = Rules(parse_budget(given.budget), given.solve, given.step, given.multiple, given.tolerance)
        wanted = SearchConfig(given.family, rules, given.seeds, given.exponent, tuple(given.overrides))
        search(wanted, ["python", "tools/scale.py", *sys.argv[1:]], given.dry_run)

    return run


COMMANDS = {
    "show": show,
    "table": table,
    "search": search,
}


def main(arguments: list[str], prog: str = "tools/scale.py") -> int:
    """Parse, and call one function of the package; the exit code."""
    return subcommand(prog, "Make networks deeper, wider and larger.", COMMANDS, arguments)
