from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pytest import param

from ghostlab.data.config import DataConfig
from ghostlab.data.datasets import build
from ghostlab.errors import UsageError
from tests.data.conftest import MakeFolder
