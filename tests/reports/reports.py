"""Made-up reports, whose figures are worked out from nothing but the arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ghostlab.reports.summary import Effect, Interaction, Line, Report, RunRecord, Section, State
from ghostlab.statistics.paired import Difference
from ghostlab.statistics.verdicts import Verdict

FOLDER = Path("outputs/ablation/one")
EPOCHS = 8


def run(name: str, seed: int, top1: float = 60.0, state: State = "finished", error: str | None = None) -> RunRecord:
    """A run whose curve rises to ``top1``; only a finished one has a result."""
    epochs = range(1, EPOCHS + 1)
    curve = [{"epoch": one, "top1": top1 - 20 / one, "val_loss": 1 + 1 / one, "lr": 0.003} for one in epochs]
    return RunRecord(
        seed,
        Path("outputs/eurosat/ghostnetv2") / name / f"seed{seed}",
        state,
        f"python train.py data=eurosat strategy={name} seed={seed}",
        {"top1": top1, "seconds": 90.0 + seed} if state == "finished" else None,
        curve if state == "finished" else (),
        error,
    )


def effect(name: str, gain: float, verdict: Verdict, *, removed: bool = False) -> Effect:
    known = verdict != "no seeds"
    difference = Difference(gain, 3, gain - 0.5, gain + 0.5, 0.01) if known else Difference(gain, 1)
    reference, row = ("all", f"without {name}") if removed else ("baseline", name)
    more = 4 if verdict == "undecided" else None
    return Effect(row, reference, name, removed, difference, 0.02 if known else None, verdict, more)


def line(
    name: str,
    top1: float = 60.0,
    found: Effect | None = None,
    time: float = 1.0,
    runs: Sequence[RunRecord] | None = None,
) -> Line:
    runs = [run(name, seed, top1 + seed / 10) for seed in range(3)] if runs is None else runs
    done = any(one.state == "finished" for one in runs)
    return Line(
        name=name,
        strategy=name,
        runs=runs,
        changes=[("strategy.kd.tau", None, 4)] if found else [],
        effect=found,
        top1=top1 if done else None,
        top1_sd=0.1 if done else None,
        top1_raw=top1 if done else None,
        top1_ema=None,
        seconds=90 * time if done else None,
        time_ratio=time if done else None,
        memory_ratio=1.1 if done else None,
        params_deploy=928_858 if done else None,
        macs_deploy=2_930_016 if done else None,
        latency_ms=None,
    )


def section(lines: Sequence[Line], title: str = "eurosat  ghostnetv2", reference: str | None = "baseline") -> Section:
    return Section(title, ["data=eurosat", "model=ghostnetv2"], reference, lines, [], [], [], [])


def report(*sections: Section, finished: int = 12, total: int = 12, kind: str = "add_one") -> Report:
    return Report(kind, "python train.py -m strategy=kd,ema seed=0,1,2", FOLDER, sections, finished, total)


def typical() -> Report:
    """A baseline and a row for each verdict."""
    lines = [
        line("baseline"),
        line("mixup", 58.5, effect("mixup", -1.5, "hurts"), 1.01),
        line("kd", 63.0, effect("kd", 3.0, "helps"), 1.6),
        line("ema", 60.2, effect("ema", 0.2, "undecided"), 1.02),
        line("reparam", 61.1, effect("reparam", 1.1, "no seeds"), 1.3),
    ]
    return report(section(lines))


def complete() -> Report:
    """Everything that a section may hold."""
    both = Interaction(("kd", "ema"), Difference(0.7, 3, 0.2, 1.2, 0.01), 0.02, "more together")
    failed = line("kd+ema", found=None, runs=[run("kd+ema", 0, state="failed", error="loss is not finite")])
    one = typical().sections[0]
    direct = [Effect("kd", "ema", "kd", False, Difference(2.8, 3, 2.0, 3.6, 0.003), 0.006, "helps")]
    notes, others = ["1 of 13 runs failed."], ["eurosat/ghostnetv2/kd/seed0-0123abcd"]
    lines = [*one.lines, failed]
    main = [Effect("with kd", "without kd", "kd", False, Difference(2.9, 3, 2.1, 3.7, 0.002), 0.004, "helps")]
    method = "Paired t-test over seeds."
    table = Section(one.title, one.overrides, "baseline", lines, direct, [both], others, notes, main, method)
    return report(table, total=13)
