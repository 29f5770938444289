"""Measure what things cost."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ghostlab.cli.guard import Command, subcommand
from ghostlab.errors import UsageError


def check_repeats(
    command: Callable[[argparse.ArgumentParser], Command],
) -> Callable[[argparse.ArgumentParser], Command]:
    """The command, which refuses ``--repeats`` below 1."""

    def checked(parser: argparse.ArgumentParser) -> Command:
        measure = command(parser)

        def run(given: argparse.Namespace) -> None:
            if given.repeats < 1:
                raise UsageError(f"--repeats {given.repeats}: must be at least 1")
            measure(given)

        return run

    return checked


def strategies(parser: argparse.ArgumentParser) -> Command:
    """Training time and memory of every strategy."""
    from ghostlab.strategies.registry import RECIPES, STRATEGIES

    parser.add_argument("--repeats", type=int, default=4, help="epochs of each strategy (default: 4)")
    parser.add_argument(
        "--only", nargs="+", metavar="STRATEGY", default=[], help="such as ema or kd+ema (default: all)"
    )
    parser.add_argument("overrides", nargs="*", help="such as data=cifar10 model=efficientnet_b0")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.strategies import strategies

        words = [*given.only, *given.overrides]  # an override may follow the names
        names = [one for one in words if "=" not in one] or [*STRATEGIES, *RECIPES]
        strategies(names, given.repeats, [one for one in words if "=" in one])

    return measure


def throughput(parser: argparse.ArgumentParser) -> Command:
    """Training by this package, by timm's and torchvision's loaders and plain loops, and by Lightning."""
    parser.add_argument("--repeats", type=int, default=3, help="epochs of each pipeline (default: 3)")
    parser.add_argument("overrides", nargs="+", help="such as data=imagefolder data.root=photos data.image_size=64")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.throughput import throughput

        throughput(given.repeats, given.overrides)

    return measure


def reparam(parser: argparse.ArgumentParser) -> Command:
    """What branches cost, as whole networks and layer by layer."""
    groups = ("ghostnetv2", "efficientnet_b0", "mobilenetv2_100", "layers")
    parser.add_argument("--only", nargs="+", choices=groups, default=groups, help="what to measure (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds over all contestants (default: 7)")
    parser.add_argument("--batch", type=int, default=16, help="images of a step (default: 16)")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (default: 224)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda runs in bf16 (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--steps", type=int, default=1, help="training steps timed together (default: 1)")
    parser.add_argument("--compile", action="store_true", help="torch.compile every contestant")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.contest import Setting
        from ghostlab.benchmarks.reparam import reparam

        setting = Setting(given.batch, given.image_size, given.device, given.threads, given.compile, given.steps)
        reparam(given.only, setting, given.repeats)

    return measure


def step(parser: argparse.ArgumentParser) -> Command:
    """What own kernels save of a training step on a CPU."""
    from ghostlab.benchmarks.steps import CASES

    models = tuple(dict.fromkeys(case.model for case in CASES))
    parser.add_argument("--only", nargs="+", metavar="MODEL", default=models, help="such as ghostnetv2:width=0.35")
    parser.add_argument("--repeats", type=int, default=9, help="rounds over all ways (default: 9)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--batch", type=int, help="images of a step (default: 64, 8 or 16 at 224 px)")
    parser.add_argument("--image-size", type=int, help="pixels (default: several)")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.steps import Case, steps

        if given.image_size:
            cases = [Case(model, given.image_size, given.batch or 64) for model in given.only]
        else:
            cases = [case._replace(batch=given.batch or case.batch) for case in CASES if case.model in given.only]
        if not cases:
            raise UsageError(f"--only {' '.join(given.only)}: others than {', '.join(models)} need --image-size")
        steps(cases, given.threads, given.repeats)

    return measure


def distill(parser: argparse.ArgumentParser) -> Command:
    """What a teacher costs, live and cached."""
    parser.add_argument("--repeats", type=int, default=3, help="seeds (default: 3)")
    parser.add_argument("overrides", nargs="*", help="such as data.teacher.model=resnet50 strategy.kd.kind=dist")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.distill import distill

        distill(given.repeats, given.overrides)

    return measure


def latency(parser: argparse.ArgumentParser) -> Command:
    """How long deployed networks take for an image."""
    what = "such as ghostnetv2:width=1.3, a run folder, or an exported file"
    parser.add_argument("names", nargs="*", metavar="MODEL|RUN|FILE", help=what)
    parser.add_argument("--runtime", nargs="+", default=["eager"], help="such as eager onnx (default: eager)")
    parser.add_argument("--repeats", type=int, default=20, help="rounds over all contestants (default: 20)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="images of a call (default: 1 16)")
    parser.add_argument("--threads", nargs="+", default=["1"], help="CPU threads, each measured; all (default: 1)")
    parser.add_argument("--image-size", type=int, help="pixels (default: the size that each was made for)")
    parser.add_argument("--accuracy", action="store_true", help="draw the times over top-1, not over MACs")

    def measure(given: argparse.Namespace) -> None:
        from ghostlab.benchmarks.latency import DEFAULT, LatencyConfig, latency

        latency(
            LatencyConfig(
                names=given.names or DEFAULT,
                runtimes=tuple(dict.fromkeys(given.runtime)),
                image_size=given.image_size,
                batches=tuple(given.batch),
                threads=tuple(map(thread_count, given.threads)),
                rounds=given.repeats,
                accuracy=given.accuracy,
            )
        )

    return measure


def thread_count(given: str) -> int:
    """A number, or that of all cores."""
    from ghostlab.benchmarks.contestants import core_count

    if given == "all":
        return core_count()
    if not given.isdecimal():
        raise UsageError(f"--threads {given}: numbers from 1, or all")
    return int(given)


COMMANDS = {
    command.__name__: check_repeats(command) for command in (strategies, throughput, reparam, step, distill, latency)
}


def main(arguments: list[str], prog: str = "tools/benchmark.py") -> int:
    """Parse, and call one function of the package; the exit code."""
    return subcommand(prog, "Measure what things cost, side by side.", COMMANDS, arguments)
