"""The card of a published network, ``README.md``: YAML that the hub reads, then what a reader needs to decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from ghostlab.publish.facts import Ablation, Facts
from ghostlab.publish.papers import papers
from ghostlab.quantities import quantity

__all__ = ["OWNER", "card"]

OWNER = "YOUR-NAME"
"""What stands for the user's or organisation's name on the hub."""

MERGED = (
    " The branches that it was trained with are merged into convolutions and batch norms, so that it can be trained on."
)
FIRST = """import ghostlab.models  # before timm looks for the architecture, which is not its own
"""


def card(facts: Facts) -> str:
    """The text of ``README.md``."""
    sections = {
        "Use": _use(facts),
        "Accuracy": _accuracy(facts),
        "Recipe": _recipe(facts),
        "Size": _size(facts),
        "Latency": _latency(facts),
        "What the strategies are worth": _ablation(facts.ablation),
        "Limits": _limits(facts),
        "Licence": f"{facts.licence}, chosen by whoever published these weights; the images have terms of their own.",
        "Citation": _citation(facts),
    }
    body = "\n\n".join(f"## {title}\n{text}" for title, text in sections.items())
    return f"---\n{_front_matter(facts)}---\n# {facts.name}\n{_about(facts)}\n\n{body}\n"


def _front_matter(facts: Facts) -> str:
    figures = [("accuracy", "top-1", facts.result["top1"]), ("accuracy", "top-5", facts.result["top5"])]
    metrics = [{"type": kind, "name": name, "value": round(value, 2)} for kind, name, value in figures]
    data = facts.config["data"]["name"]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": data, "name": data},
        "metrics": metrics,
    }
    return yaml.safe_dump(
        {
            "tags": ["image-classification", "timm", "ghostlab"],
            "library_name": "timm",
            "pipeline_tag": "image-classification",
            "license": facts.licence,
            "metrics": ["accuracy"],
            "model-index": [{"name": facts.name, "results": [result]}],
        },
        sort_keys=False,
    )


def _about(facts: Facts) -> str:
    data, model = facts.config["data"], facts.config["model"]
    width = "" if (model.get("width") or 1) == 1 else f" {model['width']:g}x"
    merged = facts.result["params_train"] > facts.counts.params
    network = f"{model['name']}{width}" + ("" if facts.own else f" (timm's `{facts.architecture}`)")
    task = f"an image classifier for the {data['num_classes']} classes of {data['name']} at {facts.image_size} px"
    return f"{network}, {task}, trained with {facts.result['strategy']}.{MERGED if merged else ''}"


def _use(facts: Facts) -> str:
    code = (
        f"{FIRST if facts.own else ''}import timm\n\n"
        f'model = timm.create_model("hf-hub:{OWNER}/{facts.name}", pretrained=True).eval()\n'
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)\n"
        "logits = model(transform(image).unsqueeze(0))  # a PIL image in RGB\n"
    )
    names = '`model.pretrained_cfg["label_names"]` holds the names of the classes.'
    return f"```python\n{code}```\n{names}"


def _accuracy(facts: Facts) -> str:
    result, data = facts.result, facts.config["data"]
    images = f"{facts.images[1]:,} validation images" if facts.images else "validation images"
    rows = [("top-1", f"{result['top1']:.2f} %"), ("top-5", f"{result['top5']:.2f} %")]
    if result.get("top1_ema") is not None:
        rows += [("top-1 of the averaged weights", f"{result['top1_ema']:.2f} %")]
        rows += [("top-1 of the weights as trained", f"{result['top1_raw']:.2f} %")]
    said = f"On the {images} of {data['name']}, after epoch {result['epochs']}, one run (seed {result['seed']})."
    return f"{_table(('', data['name']), rows)}\n\n{said} {_checked(facts)}"


def _checked(facts: Facts) -> str:
    said = (
        "These files, opened by timm, answer as the run's network does: the largest difference of an output is"
        f" {facts.check.difference:.0e} of the largest"
    )
    if facts.check.top1 is None:
        return f"{said}; top-1 was not measured again, as the images were not there."
    before, after = facts.check.top1
    return f"{said}; top-1 {before:.2f} % before, {after:.2f} % after."


def _recipe(facts: Facts) -> str:
    config = facts.config
    optimizer, trainer, data = config["optimizer"], config["trainer"], config["data"]
    rows = [
        ("data", f"{data['name']}{f', {facts.images[0]:,} training images' if facts.images else ''}"),
        ("epochs", str(facts.result["epochs"])),
        ("batch", f"{data['batch_size']}" + (f" x {trainer['accumulate']}" if trainer["accumulate"] > 1 else "")),
        ("optimizer", f"{optimizer['name']}: {_settings(optimizer)}"),
        *((f"strategy {name}", _settings(config["strategy"][name]) or "as it is") for name in config["strategy"]),
    ]
    if teacher := facts.result.get("teacher"):
        top1 = facts.result.get("teacher_top1")
        name = teacher.partition(" (")[0].removeprefix("teacher ")
        rows.append(("teacher", f"{name}, top-1 {top1:.1f} %" if top1 else name))
    return f"{_table(('', 'value'), rows)}\n\n```\n{facts.command}\n```"


def _size(facts: Facts) -> str:
    result = facts.result
    rows = [
        ("in training", f"{quantity(result['params_train'])}", ""),
        ("published, with batch norms", f"{quantity(facts.counts.params)}", f"{quantity(facts.counts.macs)}"),
        ("deployed, all folded", f"{quantity(result['params_deploy'])}", f"{quantity(result['macs_deploy'])}"),
    ]
    return f"{_table(('', 'parameters', f'MACs at {facts.image_size} px'), rows)}"


def _latency(facts: Facts) -> str:
    if not facts.latencies:
        return "Not measured. `python tools/benchmark.py latency <run folder>` measures it."
    columns = ("network", "runtime", "threads", "batch", "px", "median, ms", "95th percentile, ms")
    rows = [
        (one.name, one.runtime, *map(str, (one.threads, one.batch, one.image_size)), *_times(one.median_ms, one.p95_ms))
        for one in facts.latencies
    ]
    return f"On {facts.latencies[0].processor}, all folded:\n\n{_table(columns, rows)}"


def _times(*milliseconds: float) -> Iterable[str]:
    return (f"{value:,.2f}" for value in milliseconds)


def _ablation(row: Ablation | None) -> str:
    if row is None:
        return "Not compared. `python tools/report.py <folder of runs>` compares runs that differ in them."
    spread = "" if row.top1_sd is None else f" ±{row.top1_sd:.2f}"
    cells = [row.name, f"{row.top1:.2f}{spread}", "-", "-", row.verdict or "-"]
    if row.difference is not None:
        cells[2] = f"{row.difference:+.2f}"
    if row.interval is not None:
        cells[3] = f"[{row.interval[0]:+.2f}, {row.interval[1]:+.2f}]"
    seeds = f"top-1 ({len(row.seeds)} seed{'s' * (len(row.seeds) != 1)})"
    header = ("row", seeds, f"against {row.reference or 'nothing'}", "95 % interval", "verdict")
    return f"{_table(header, [cells])}\n\nSeeds {', '.join(map(str, row.seeds))}. {row.method}"


def _limits(facts: Facts) -> str:
    data, size = facts.config["data"], facts.image_size
    seeds = len(facts.ablation.seeds) if facts.ablation else 1
    one = "How far another seed would be from it is not known." if seeds == 1 else "Other seeds differ, see above."
    origin = facts.config["model"].get("pretrained")
    start = " It began with weights of an earlier training." if origin else ""
    return (
        f"Trained on {data['name']} only, at {data['image_size']} px, and measured at {size} px; other images and sizes"
        f" were not tried.{start} {one} Nothing was tested for robustness, calibration or fairness."
    )


def _citation(facts: Facts) -> str:
    model, strategies = facts.config["model"]["name"], facts.config["strategy"]
    return "\n".join(f"- {paper}" for paper in papers(model, strategies, facts.result["strategy"]))


def _settings(node: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in node.items() if value is not None and key != "name")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).rpartition("/")[2] if str(value).startswith("/") else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
