"""Where networks and strategies come from: what a card cites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["papers"]

MODELS = {
    "ghostnetv1": ("Han et al., GhostNet: More Features from Cheap Operations", "1911.11907"),
    "ghostnetv2": ("Tang et al., GhostNetV2: Enhance Cheap Operation with Long-Range Attention", "2211.12905"),
    "ghostnetv3": ("Liu et al., GhostNetV3: Exploring the Training Strategies for Compact Models", "2404.11202"),
}
STRATEGIES = {
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


def papers(model: str, strategies: Mapping[str, Any], joined: str) -> list[str]:
    """A line for each paper behind a model, strategies with their settings and the recipe in their ``joined`` name."""
    recipes = [MODELS[name] for name in joined.split("+") if name in MODELS and name != model]
    found = [MODELS.get(model), *recipes, *(STRATEGIES.get(name) for name in strategies)]
    if strategies.get("reparam", {}).get("norm") == "sum":
        found.append(QUANTIZABLE)
    return [*(f"{title}, https://arxiv.org/abs/{number}" for title, number in filter(None, found)), TIMM]
