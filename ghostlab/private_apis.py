"""What is used of other packages that they do not promise to keep: all of it, and nothing of it anywhere else.

``from ghostlab.private_apis import create_effnet`` imports what ``APIS`` says. Where a release of that package has
changed it, the error names the package and this file. Public ways are used wherever there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostlab.errors import RunError

__all__ = ["APIS", "Api", "copy_hooks", "digits_table", "pets", "uncompiled"]


@dataclass(frozen=True)
class Api:
    """``attribute`` of ``module``, of the distribution ``package``, in the versions ``tried``; ``why`` it is needed."""

    package: str
    module: str
    attribute: str
    tried: str
    why: str


def _timm(attribute: str, why: str, module: str = "timm.models.efficientnet") -> Api:
    return Api("timm", module, attribute, "1.0.31", why)


def _torch(module: str, attribute: str, why: str) -> Api:
    return Api("torch", module, attribute, "2.14.1", why)


def _executorch(attribute: str) -> Api:
    why = "a program's threads cannot be set otherwise"
    return Api("executorch", "executorch.extension.pybindings.portable_lib", attribute, "1.5.1", why)


BLOCKS = "timm's notation of blocks is documented, its reader is not exported"
TREES = "torch has no public name for them; nested outputs may have classes that only it knows"
SCALED = "timm's models take no factors of width and depth; its generators do"

APIS = {
    "create_effnet": _timm("_create_effnet", "timm has no builder for an EfficientNet from block definitions"),
    "effnet_cfg": _timm("_cfg", "preprocessing of a registered EfficientNet, as timm writes its own"),
    "gen_efficientnet": _timm("_gen_efficientnet", SCALED),
    "gen_efficientnetv2_base": _timm("_gen_efficientnetv2_base", SCALED),
    "gen_efficientnetv2_s": _timm("_gen_efficientnetv2_s", SCALED),
    "gen_efficientnetv2_m": _timm("_gen_efficientnetv2_m", SCALED),
    "gen_efficientnetv2_l": _timm("_gen_efficientnetv2_l", SCALED),
    "gen_efficientnetv2_xl": _timm("_gen_efficientnetv2_xl", SCALED),
    "gen_mobilenet_v1": _timm("_gen_mobilenet_v1", SCALED),
    "gen_mobilenet_v2": _timm("_gen_mobilenet_v2", SCALED),
    "decode_arch_def": _timm("decode_arch_def", BLOCKS, "timm.models._efficientnet_builder"),
    "resolve_act_layer": _timm("resolve_act_layer", BLOCKS, "timm.models._efficientnet_builder"),
    "resolve_bn_args": _timm("resolve_bn_args", BLOCKS, "timm.models._efficientnet_builder"),
    "foreach_copy_": _torch("torch", "_foreach_copy_", "torch.optim copies many tensors at once with it, nothing else"),
    "tree_leaves": _torch("torch.utils._pytree", "tree_leaves", TREES),
    "tree_structure": _torch("torch.utils._pytree", "tree_structure", TREES),
    "treespec_dumps": _torch("torch.utils._pytree", "treespec_dumps", TREES),
    "TorchDispatchMode": _torch("torch.utils._python_dispatch", "TorchDispatchMode", "documented under this name"),
    "peek_interpreter_stack": _torch(
        "torch._C._functorch", "peek_interpreter_stack", "whether torch.func transforms what is computed"
    ),
    "load_pt2": _torch("torch.export.pt2_archive._package", "load_pt2", "torch.export.load may unpickle"),
    "threadpool_get_thread_count": _executorch("_threadpool_get_thread_count"),
    "unsafe_reset_threadpool": _executorch("_unsafe_reset_threadpool"),
}


def __getattr__(name: str) -> Any:
    if name not in APIS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    api = APIS[name]
    try:
        return getattr(import_module(api.module), api.attribute)
    except (ImportError, AttributeError) as error:
        raise RunError(
            f"{api.package} {version(api.package)} has no {api.module}.{api.attribute}, which {__file__} was tried with"
            f" in {api.package} {api.tried}"
        ) from error


def uncompiled(model: Any) -> Any:
    """The module that ``torch.compile`` wraps, or the model itself. torch 2.14.1: the wrapper shows it in every name of
    its state dict, but offers no other way to it."""
    return getattr(model, "_orig_mod", model)


def pets(data: Any) -> tuple[list[str], list[int]]:
    """Paths and labels of torchvision's Oxford pets, which has no ``loader`` to leave its images undecoded with.
    torchvision 0.29.1."""
    return [str(path) for path in data._images], data._labels


def digits_table() -> NDArray[np.float64]:
    """The rows of scikit-learn's digits, 64 pixels from 0 to 16 and a class, read without importing all of it, which
    takes a second. scikit-learn 1.9.1; where the file lies elsewhere it is asked."""
    spec = find_spec("sklearn")
    file = Path(str(spec and spec.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


def copy_hooks(old: Any, new: Any) -> None:
    """Let the module ``new`` have the forward hooks of ``old``: the same, so that their handles remove them from both.

    torch 2.14.1; a hook's handle is public, but not which hooks a module has.
    """
    new._forward_hooks, new._forward_pre_hooks = old._forward_hooks, old._forward_pre_hooks
