"""Every option of ``conf/trainer`` by what it does to training, not by what is handed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import MonkeyPatch, approx, param
from torch import Tensor, nn

from ghostlab.data import Batch
from ghostlab.errors import UsageError
from ghostlab.kernels import native
from ghostlab.kernels.function import Way, depthwise
from ghostlab.runs import compose
from ghostlab.runs.run import Run
from ghostlab.runs.settings import TrainerConfig, parse
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.classifier import Classifier
from ghostlab.training.history import History
from ghostlab.training.run import run
from ghostlab.training.trainer import build_trainer
from tests.training.photos import photos

STANDSTILL = ("optimizer=sgd", "optimizer.lr=1e-60", "optimizer.momentum=0", "optimizer.nesterov=false")
"""Weights stay what they are to the last bit, so that gradients of several runs can be compared."""


class Seen:
    """What one run did."""

    def __init__(self) -> None:
        self.gradients: list[list[Tensor]] = []  # those that each optimizer step used
        self.images: list[Tensor] = []
        self.model: Any = None
        self.result: dict[str, Any] = {}

    def norms(self) -> list[float]:
        return [float(torch.stack([g.norm() for g in step]).norm()) for step in self.gradients]


Train = Callable[..., Seen]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: MonkeyPatch) -> Train:
    """``train("trainer.clip=1")``: a run of one epoch of four batches of two images."""
    data = photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)

    def trained(*options: str, watch: Callable[[nn.Module], Any] = lambda model: None) -> Seen:
        seen = Seen()

        def configure(self: Classifier, original: Any = Classifier.configure_optimizers) -> Any:
            seen.model = self.model
            watch(self.model)
            configured = original(self)
            optimizer = configured["optimizer"]
            optimizer.register_step_post_hook(
                lambda *_: seen.gradients.append([p.grad.clone() for g in optimizer.param_groups for p in g["params"]])
            )
            return configured

        def step(self: Classifier, batch: Batch, index: int, original: Any = Classifier.training_step) -> Any:
            seen.images.append(self._laid_out(batch.images))
            return original(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(Classifier, "configure_optimizers", configure)
            patch.setattr(Classifier, "training_step", step)
            seen.result = run(compose([*data, "data.batch_size=2", "force=true", *options]))
        return seen

    return trained


def trainer(*options: str) -> Any:
    settings = parse(compose(["trainer.accelerator=cpu", *options]))
    return build_trainer(settings, History(Path("unused")), Checkpoints(Run(Path("unused"))))


def test_every_option_is_tested_here() -> None:
    tests = [name for name in globals() if name.startswith("test_")]
    assert [f.name for f in fields(TrainerConfig) if not any(t.startswith(f"test_{f.name}_") for t in tests)] == []


def test_max_epochs_is_how_often_each_image_is_seen(train: Train) -> None:
    seen = train("trainer.max_epochs=2")
    assert (len(seen.images), seen.result["epochs"]) == (8, 2)


def test_clip_bounds_the_gradient_of_every_step(train: Train) -> None:
    assert min(train(*STANDSTILL).norms()) > 0.02
    assert train(*STANDSTILL, "trainer.clip=0.01").norms() == approx([0.01] * 4, rel=1e-3)


def test_accumulate_makes_a_step_of_the_mean_gradient_of_its_batches(train: Train) -> None:
    one_by_one = train(*STANDSTILL).gradients
    windows = train(*STANDSTILL, "trainer.accumulate=3").gradients
    assert len(windows) == 2
    for window, batches in zip(windows, (one_by_one[:3], one_by_one[3:]), strict=True):  # the last is not a whole one
        for found, parts in zip(window, zip(*batches, strict=True), strict=True):
            torch.testing.assert_close(found, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "weights", "computed", "statistics", "strategy"),
    [
        param("32-true", torch.float32, torch.float32, torch.float32, "baseline", id="32-true"),
        param("64-true", torch.float64, torch.float64, torch.float64, "baseline", id="64-true"),
        param("bf16-mixed", torch.float32, torch.bfloat16, torch.float32, "baseline", id="bf16-mixed"),
        param("bf16-true", torch.bfloat16, torch.bfloat16, torch.float32, "baseline", id="bf16-true"),
        param("bf16-true", torch.bfloat16, torch.bfloat16, torch.float32, "reparam", id="bf16-true-grown"),
    ],
)
def test_precision_is_that_of_weights_results_and_statistics(
    train: Train, precision: str, weights: torch.dtype, computed: torch.dtype, statistics: torch.dtype, strategy: str
) -> None:
    found: list[torch.dtype] = []

    def watch(model: Any) -> None:
        convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        found.extend({conv.weight.dtype for conv in convs})
        tapped = model.layer4  # copies of the model have the hook as well
        tapped.register_forward_hook(lambda module, _, output: found.append(output.dtype) if module is tapped else None)

    seen = train(f"trainer.precision={precision}", f"strategy={strategy}", watch=watch)
    assert set(found) == {weights, computed}
    buffers = {b.dtype for name, b in seen.model.named_buffers() if "running" in name}
    assert buffers == {statistics}
    assert seen.result["loss"] > 0


def test_precision_that_a_cpu_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^trainer\.precision=16-mixed: .*use trainer\.precision=bf16-mixed$"):
        trainer("trainer.precision=16-mixed")


def test_precision_of_16_bits_lets_statistics_arrive() -> None:
    from ghostlab.training.trainer import HalfWeights

    norm = HalfWeights("bf16-true").convert_module(nn.Sequential(nn.BatchNorm2d(1, momentum=0.01)))
    images = torch.randn(16, 1, 4, 4, dtype=torch.bfloat16) + 10
    for _ in range(1000):
        norm(images)
    assert norm[0].running_mean.item() == approx(10, rel=0.02)
    assert norm(images).dtype == torch.bfloat16


def test_channels_last_is_the_layout_of_images_and_weights(train: Train) -> None:
    for given, layout in (("true", torch.channels_last), ("false", torch.contiguous_format)):
        seen = train(f"trainer.channels_last={given}")
        kernel = seen.model.layer1[0].conv2.weight
        assert all(tensor.is_contiguous(memory_format=layout) for tensor in (kernel, *seen.images)), given


def test_compile_runs_the_compiled_network(train: Train, monkeypatch: MonkeyPatch) -> None:
    calls: list[bool] = []

    def compiled(model: nn.Module) -> Any:
        return lambda images: calls.append(model.training) or model(images)  # type: ignore[func-returns-value]

    monkeypatch.setattr(torch, "compile", compiled)
    train()
    assert calls == []
    train("trainer.compile=true")
    assert calls == [True] * 4


@pytest.mark.skipif(native.kernels(torch.float32) is None, reason="there is no C++ compiler")
def test_cpu_kernels_compute_depthwise_convolutions_in_training(train: Train, monkeypatch: MonkeyPatch) -> None:
    calls: list[bool] = []

    def counted(*given: Any) -> Tensor:
        calls.append(True)
        return depthwise(*given[:-1], Way.BOTH)

    def count(*options: str) -> int:
        calls.clear()
        train("model.name=test_efficientnet", *options)
        return len(calls)

    monkeypatch.setattr("ghostlab.kernels.training.depthwise", counted)
    once = count()
    assert once > 0
    assert count("trainer.cpu_kernels=false") == count("trainer.precision=bf16-mixed") == 0
    assert count("trainer.grad_checkpointing=true") == 2 * once


def test_grad_checkpointing_computes_activations_again(train: Train) -> None:
    def runs(*options: str) -> int:
        calls: list[bool] = []

        def watch(model: Any) -> None:
            model.layer1[0].register_forward_pre_hook(lambda module, _: calls.append(module.training))

        train(*options, watch=watch)
        return sum(calls)

    assert (runs(), runs("trainer.grad_checkpointing=true")) == (4, 8)


def test_sync_batchnorm_trains_the_same_network_with_synchronised_norms(train: Train) -> None:
    plain, synchronised = (
        train(*STANDSTILL, "strategy=ema"),
        train(*STANDSTILL, "strategy=ema", "trainer.sync_batchnorm=true"),
    )
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronised.model.modules())
    for found, expected in zip(synchronised.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(found, expected)
    for key in ("top1_ema", "top1_raw", "loss", "params_deploy", "macs_deploy"):
        assert synchronised.result[key] == approx(plain.result[key]), key


def test_sync_batchnorm_over_cpus_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^trainer\.sync_batchnorm=true: .* on GPUs only$"):
        trainer("trainer.sync_batchnorm=true", "trainer.devices=2")


def test_devices_and_num_nodes_are_the_processes() -> None:
    assert trainer("trainer.devices=2", "trainer.num_nodes=3").world_size == 6


def test_num_nodes_alone_is_one_process_a_machine() -> None:
    assert trainer("trainer.num_nodes=2").world_size == 2


def test_accelerator_is_the_device_that_trains(train: Train) -> None:
    assert train("trainer.accelerator=cpu").result["device"] == f"cpu, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=r"^trainer\.accelerator=gpu"):
            trainer("trainer.accelerator=gpu")
