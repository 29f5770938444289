"""Keys of GhostNetV3 state dicts by the authors and by timm, renamed to this package's.

The authors (https://github.com/huawei-noah/Efficient-AI-Backbones, ``ghostnetv3_pytorch``) keep every branch of a
convolution in a module of its own; here the branches of one convolution are stacked. Their deployed layout, V1 and V2
have the same keys as here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ghostlab.errors import RunError

__all__ = ["from_official"]

SITES = {"primary": "primary_conv.0", "cheap": "cheap_operation.0", "dw": "conv_dw"}
BRANCH = re.compile(r"(primary|cheap|dw)_rpr_conv\.(\d+)\.(conv|bn1?)\.(\w+)$")
SCALE = re.compile(r"(primary|cheap|dw)_rpr_scale\.(conv|bn1?)\.(\w+)$")
IDENTITY = re.compile(r"(primary|cheap|dw)_rpr_skip\.(\w+)$")


def from_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of branches and stack their tensors, branch after branch; all other keys stay as they are.

    Raises ``RunError`` when a branch between others is missing.
    """
    renamed: dict[str, Tensor] = {}
    branches: dict[str, dict[int, Tensor]] = {}
    for key, tensor in state_dict.items():
        if match := BRANCH.search(key):
            branch = branches.setdefault(key[: match.start()] + _stacked_name(match), {})
            branch[int(match[2])] = tensor
        else:
            renamed[SCALE.sub(_scale_name, IDENTITY.sub(_identity_name, key))] = tensor
    return renamed | {key: _stack(key, parts) for key, parts in branches.items()}


def _stack(key: str, parts: Mapping[int, Tensor]) -> Tensor:
    if sorted(parts) != list(range(len(parts))):
        raise RunError(f"weights of branches are missing: '{key}' has branches {sorted(parts)}")
    tensors = [parts[i] for i in range(len(parts))]
    return torch.cat(tensors) if tensors[0].ndim else tensors[0]  # a counter of batches is the same in all branches


def _stacked_name(match: re.Match[str]) -> str:
    return f"{SITES[match[1]]}.{match[3].rstrip('1')}.{match[4]}"


def _scale_name(match: re.Match[str]) -> str:
    return f"{SITES[match[1]]}.scale.{match[2].rstrip('1')}.{match[3]}"


def _identity_name(match: re.Match[str]) -> str:
    return f"{SITES[match[1]]}.identity.{match[2]}"
