"""The card of a published network, ``README.md``: YAML that the hub reads, then what a reader needs to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import yaml

from ghostlab.publish.facts import Facts, Latency
from ghostlab.quantities import quantity
from ghostlab.reports.summary import Section
from ghostlab.reports.table import finished_seeds, line_table
from ghostlab.tables import Column, columns_of, markdown_table

__all__ = ["OWNER", "model_card"]

OWNER = "YOUR-NAME"
"""What stands for the user's or organisation's name on the hub."""

MERGED = (
    " The branches that it was trained with are merged into convolutions and batch norms, so that it can be trained on."
)
IMPORT = """import ghostlab.models  # before timm looks for the architecture, which is not its own
"""
LATENCY_COLUMNS: Sequence[Column[Latency]] = (
    Column("name", "network", align="left"),
    Column("runtime", "runtime", align="left"),
    *(Column(key, heading) for key, heading in (("threads", "threads"), ("batch", "batch"), ("image_size", "px"))),
    Column("median_ms", "median, ms", show="{:,.2f}".format),
    Column("p95_ms", "95th percentile, ms", show="{:,.2f}".format),
)
PAPERS_OF_MODELS = {
    "ghostnetv1": ("Han et al., GhostNet: More Features from Cheap Operations", "1911.11907"),
    "ghostnetv2": ("Tang et al., GhostNetV2: Enhance Cheap Operation with Long-Range Attention", "2211.12905"),
    "ghostnetv3": ("Liu et al., GhostNetV3: Exploring the Training Strategies for Compact Models", "2404.11202"),
}
PAPERS_OF_STRATEGIES = {
    "progressive": ("Tan and Le, EfficientNetV2: Smaller Models and Faster Training", "2104.00298"),
    "droppath": ("Huang et al., Deep Networks with Stochastic Depth", "1603.09382"),
    "reparam": ("Ding et al., RepVGG: Making VGG-style ConvNets Great Again", "2101.03697"),
    "randaugment": ("Cubuk et al., RandAugment: Practical Automated Data Augmentation", "1909.13719"),
    "autoaugment": ("Cubuk et al., AutoAugment: Learning Augmentation Policies from Data", "1805.09501"),
    "erasing": ("Zhong et al., Random Erasing Data Augmentation", "1708.04896"),
    "smoothing": ("Szegedy et al., Rethinking the Inception Architecture for Computer Vision", "1512.00567"),
    "mixup": ("Zhang et al., mixup: Beyond Empirical Risk Minimization", "1710.09412"),
    "cutmix": ("Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers", "1905.04899"),
    "kd": ("Hinton et al., Distilling the Knowledge in a Neural Network", "1503.02531"),
    "cosine": ("Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts", "1608.03983"),
}
QUANTIZABLE = ("Chu et al., Make RepVGG Greater Again: A Quantization-aware Approach", "2212.01593")
TIMM = "Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models"


def model_card(facts: Facts) -> str:
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
        f"{IMPORT if facts.own else ''}import timm\n\n"
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
    return f"{_two_columns(data['name'], rows)}\n\n{said} {_checked(facts)}"


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
    return f"{_two_columns('value', rows)}\n\n```\n{facts.command}\n```"


def _size(facts: Facts) -> str:
    result = facts.result
    rows = [
        ("in training", result["params_train"], None),
        ("published, with batch norms", facts.counts.params, facts.counts.macs),
        ("deployed, all folded", result["params_deploy"], result["macs_deploy"]),
    ]
    columns: list[Column[tuple[str, float, float | None]]] = [
        Column("name", get=itemgetter(0), align="left"),
        Column("params", "parameters", itemgetter(1), quantity),
        Column("macs", f"MACs at {facts.image_size} px", itemgetter(2), quantity),
    ]
    return "\n".join(markdown_table(columns, rows))


def _latency(facts: Facts) -> str:
    if not facts.latencies:
        return "Not measured. `python tools/benchmark.py latency <run folder>` measures it."
    table = "\n".join(markdown_table(LATENCY_COLUMNS, facts.latencies))
    return f"On {facts.latencies[0].processor}, all folded:\n\n{table}"


def _ablation(section: Section | None) -> str:
    if section is None:
        return "Not compared. `python tools/report.py <folder of runs>` compares runs that differ in them."
    found = line_table(section)
    table = "\n".join(markdown_table(columns_of(found.columns, "card"), found.rows))
    seeds = [str(run.seed) for line in section.lines for run in line.runs if run.state == "finished"]
    return f"{table}\n\nSeeds {', '.join(seeds)}. {section.method}"


def _limits(facts: Facts) -> str:
    data, size = facts.config["data"], facts.image_size
    seeds = sum(map(finished_seeds, facts.ablation.lines)) if facts.ablation else 1
    one = "How far another seed would be from it is not known." if seeds == 1 else "Other seeds differ, see above."
    origin = facts.config["model"].get("pretrained")
    start = " It began with weights of an earlier training." if origin else ""
    return (
        f"Trained on {data['name']} only, at {data['image_size']} px, and measured at {size} px; other images and sizes"
        f" were not tried.{start} {one} Nothing was tested for robustness, calibration or fairness."
    )


def _citation(facts: Facts) -> str:
    model, strategies = facts.config["model"]["name"], facts.config["strategy"]
    return "\n".join(f"- {paper}" for paper in _papers(model, strategies, facts.result["strategy"]))


def _papers(model: str, strategies: Mapping[str, Any], joined: str) -> list[str]:
    """A line for each paper behind a model, strategies with their settings and the recipe in their ``joined`` name."""
    recipes = [PAPERS_OF_MODELS[name] for name in joined.split("+") if name in PAPERS_OF_MODELS and name != model]
    found = [PAPERS_OF_MODELS.get(model), *recipes, *(PAPERS_OF_STRATEGIES.get(name) for name in strategies)]
    if strategies.get("reparam", {}).get("norm") == "sum":
        found.append(QUANTIZABLE)
    return [*(f"{title}, https://arxiv.org/abs/{number}" for title, number in filter(None, found)), TIMM]


def _settings(node: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in node.items() if value is not None and key != "name")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).rpartition("/")[2] if str(value).startswith("/") else str(value)


def _two_columns(heading: str, rows: Sequence[tuple[str, str]]) -> str:
    columns: list[Column[tuple[str, str]]] = [
        Column("name", get=itemgetter(0), align="left"),
        Column("value", heading, itemgetter(1), align="left"),
    ]
    return "\n".join(markdown_table(columns, rows))
