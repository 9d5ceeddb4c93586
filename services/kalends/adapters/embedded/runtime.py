"""The runtime that executes the model's graph, made silent before it is loaded.

Belongs here: loading onnxruntime. Does not belong here: the model (``models``) or its graph (``minilm_graph``). A newcomer would get wrong:
the official builds of onnxruntime send telemetry to their maker by default, over HTTPS, from the moment the library is loaded; only its
variable, set before that, keeps the uploader from being made at all (its file Privacy.md). So nobody else here imports it.
"""

import os
from types import ModuleType

_VARIABLE = "ORT_DISABLE_TELEMETRY"


def silence() -> None:
    """Forbid telemetry to every onnxruntime that this process, or a child of it, loads from now on, whatever the environment said."""
    os.environ[_VARIABLE] = "1"


def load() -> ModuleType:
    """The module ``onnxruntime``, which tells nobody anything."""
    silence()
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


def load_quantization() -> ModuleType:
    """The module ``onnxruntime.quantization``, under the same condition."""
    load()
    from onnxruntime import quantization

    module: ModuleType = quantization
    return module
