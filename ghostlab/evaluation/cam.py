"""Where a model looks: class activation maps (https://arxiv.org/abs/1512.04150), by Grad-CAM where they do not exist.

A class activation map needs a classifier that reads the pooled features: the logit of class c is then, up to its bias,
the mean over all places of ``sum_k W[c, k] f_k``. That holds for EfficientNet, MobileNetV1, MobileNetV2 and ResNet. In
GhostNet, MobileNetV3 and MobileNetV4 a layer with an activation lies between the two; Grad-CAM
(https://arxiv.org/abs/1610.02391) then takes the gradient of the logit in place of W, which is a linear approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.errors import UsageError, unknown
from ghostlab.private_apis import uncompiled
from ghostlab.reparam.trace import evaluating

__all__ = ["Explanation", "class_activation", "explain"]

METHODS = ("auto", "cam", "gradcam")


@dataclass(frozen=True)
class Explanation:
    """What speaks for one class in one image."""

    evidence: Tensor
    """(h, w), one value a place of the last feature map. By "cam", its mean and the class's bias are the logit."""
    method: str
    """"cam" or "gradcam"."""
    class_index: int
    logits: Tensor
    """(num_classes,)."""

    @property
    def flat(self) -> bool:
        """Whether no place says more than another, as in a map of one pixel, or by Grad-CAM when all speaks against."""
        return bool(self.evidence.max() - self.evidence.min() <= 1e-6 * self.evidence.abs().max())

    def heat(self, height: int, width: int) -> Tensor:
        """The evidence as (height, width), from 0 at its least to 1 at its most; zeros where it is flat."""
        if self.flat:
            return torch.zeros(height, width)
        least, most = self.evidence.min(), self.evidence.max()
        scaled = (self.evidence - least) / (most - least)
        return F.interpolate(scaled[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def class_activation(
    model: nn.Module, image_tensor: Tensor, class_index: int | None = None, method: str = "auto"
) -> Tensor:
    """How much each place of an image (C, H, W) speaks for a class: (H, W) in [0, 1]; see ``explain``."""
    return explain(model, image_tensor, class_index, method).heat(*image_tensor.shape[-2:])


def explain(model: nn.Module, image: Tensor, class_index: int | None = None, method: str = "auto") -> Explanation:
    """The evidence for a class in an image (C, H, W), already normalised as the model wants it; None: the top class.

    ``model`` is one of ``create_model``; it is used in evaluation mode and stays as it is. "auto" takes "cam" where it
    is exact for this model, else "gradcam". Raises ``UsageError`` for a class that the model does not have, for a model
    without a feature map, for "cam" where it is not exact, and where ``torchcam`` is not installed.
    """
    if method not in METHODS:
        raise UsageError(f"method={method}: {unknown('method', method, METHODS)}")
    parts, images = _parts(model), image[None]
    with evaluating(model):
        features = parts[0](images)
        logits = parts[1](features)
        _require_map(model, features)
        exact = _is_exact(model, features, logits)
    if method == "cam" and not exact:
        why = "its classifier does not read the pooled feature map"
        raise UsageError(f"method=cam: not valid for {type(model).__name__}, {why}; allowed: auto, gradcam")
    wanted = int(logits.argmax()) if class_index is None else class_index
    if not 0 <= wanted < logits.shape[1]:
        raise UsageError(f"class {wanted}: the model has classes 0 to {logits.shape[1] - 1}")
    chosen = "cam" if exact and method != "gradcam" else "gradcam"
    return Explanation(_evidence(model, parts, images, wanted, chosen), chosen, wanted, logits[0])


class _Features(nn.Module):
    """Images -> the map that is pooled, as a module: what libraries can put a hook on, in every timm model alike."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.forward_features(images)  # type: ignore[operator]


class _Head(_Features):
    """That map -> logits (B, num_classes)."""

    def forward(self, features: Tensor) -> Tensor:
        return self.model.forward_head(features)  # type: ignore[operator]


def _parts(model: nn.Module) -> nn.Sequential:
    model = uncompiled(model)
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise UsageError(f"{type(model).__name__} has no forward_features and forward_head, as timm's models have")
    return nn.Sequential(_Features(model), _Head(model))


def _require_map(model: nn.Module, features: Tensor) -> None:
    channels = getattr(model, "num_features", None)
    if features.dim() != 4 or features.shape[1] != channels:
        shape = " x ".join(map(str, features.shape[1:]))
        raise UsageError(f"{type(model).__name__} has no feature map of {channels} channels to explain, but {shape}")


def _is_exact(model: nn.Module, features: Tensor, logits: Tensor) -> bool:
    """Whether the classifier applied to the mean of the features gives these very logits."""
    classifier = model.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear) or classifier.in_features != features.shape[1]:
        return False
    pooled = classifier(features.mean((2, 3)))
    return bool((pooled - logits).abs().max() <= 1e-4 * logits.abs().max())


def _evidence(model: nn.Module, parts: nn.Sequential, images: Tensor, class_index: int, method: str) -> Tensor:
    extractor = _extractor(model, parts, method)
    with evaluating(model), extractor, torch.set_grad_enabled(method == "gradcam"):
        scores = parts(images.clone().requires_grad_(method == "gradcam"))
        return extractor(class_index, scores, normalized=False)[0][0].detach()


def _extractor(model: nn.Module, parts: nn.Sequential, method: str) -> Any:
    try:
        from torchcam.methods import CAM, GradCAM
    except ModuleNotFoundError as error:
        raise UsageError("class activation maps need `pip install 'ghostlab[cam]'`") from error
    if method == "gradcam":
        return GradCAM(parts, "0")
    return CAM(parts, "0", model.get_classifier())  # type: ignore[operator]
