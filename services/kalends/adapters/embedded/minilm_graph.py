"""The MiniLM encoder as an ONNX graph, made from its published weights.

Belongs here: the graph's structure and its quantisation. Does not belong here: running it (``models``), finding the weights. A newcomer
would get wrong: ``onnx`` is imported only while a graph is built, because it costs start-up time and memory that a running service does
not need; and every change of the graph's numbers needs a new ``RECIPE``, or an old cached graph would go on serving.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalends.adapters.embedded import runtime

RECIPE = "1"
"""Grows with every change of what this module builds."""

DIMENSION = 384
LAYERS = 6
HEADS = 12
LAYER_NORM_EPSILON = 1e-12

Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper = helper
        self._to_tensor = numpy_helper.from_array
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(self._to_tensor(np.array(value, order="C", copy=True), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        outputs = [output]
        self.nodes.append(self._helper.make_node(kind, inputs, outputs, name=output, domain=domain, **attributes))
        return output


def write_graph(weights: Weights, path: Path) -> None:
    """Write the fp32 graph: int32 ``ids`` and ``mask`` (n, s) in; ``sentence_embedding`` (n, 384), unit length, and unit rows
    ``token_embeddings`` (n, s, 384) out.
    """  # noqa: D205 - two lines name both outputs
    import onnx
    from onnx import helper

    graph = _Graph()
    hidden = _embeddings(graph, weights)
    for layer in range(LAYERS):
        hidden = _layer(graph, weights, hidden, layer)
    _outputs(graph, hidden)
    integers, floats = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    proto = helper.make_graph(
        graph.nodes,
        "minilm",
        [helper.make_tensor_value_info(name, integers, ["n", "s"]) for name in ("ids", "mask")],
        [
            helper.make_tensor_value_info("sentence_embedding", floats, ["n", DIMENSION]),
            helper.make_tensor_value_info("token_embeddings", floats, ["n", "s", DIMENSION]),
        ],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(proto, opset_imports=opsets, ir_version=10), path)


def quantize(source: Path, path: Path) -> None:
    """Write *source* with 8-bit weights, one scale per output channel."""
    from onnx import TensorProto

    quantization = runtime.load_quantization()
    # the fused attention operator is not in ONNX itself, so types behind it cannot be inferred and have to be told
    options = {"DefaultTensorType": TensorProto.FLOAT}
    quantization.quantize_dynamic(source, path, weight_type=quantization.QuantType.QInt8, per_channel=True, extra_options=options)


def _embeddings(graph: _Graph, weights: Weights) -> str:
    prefix = "embeddings."
    words = graph.constant("words", weights[prefix + "word_embeddings.weight"])
    types = weights[prefix + "token_type_embeddings.weight"][0]
    places = graph.constant("places", weights[prefix + "position_embeddings.weight"] + types)
    zero = graph.constant("zero", np.array([0], np.int64))
    second = graph.constant("second", np.array([1], np.int64))
    graph.add("Shape", ["ids"], "shape")
    graph.add("Gather", ["shape", second], "length", axis=0)
    graph.add("Slice", [places, zero, "length", zero], "places_used")
    graph.add("Gather", [words, "ids"], "words_used", axis=0)
    graph.add("Add", ["words_used", "places_used"], "summed")
    return _normalise(graph, weights, "summed", prefix + "LayerNorm")


def _layer(graph: _Graph, weights: Weights, hidden: str, layer: int) -> str:
    prefix = f"encoder.layer.{layer}."
    parts = [prefix + f"attention.self.{name}" for name in ("query", "key", "value")]
    packed = np.concatenate([weights[part + ".weight"].T for part in parts], axis=1)
    biases = np.concatenate([weights[part + ".bias"] for part in parts])
    attended = graph.add(
        "Attention",
        [hidden, graph.constant(prefix + "qkv", packed), graph.constant(prefix + "qkv_bias", biases), "mask"],
        prefix + "attended",
        domain="com.microsoft",
        num_heads=HEADS,
    )
    mixed = _linear(graph, weights, attended, prefix + "attention.output.dense")
    graph.add("Add", [mixed, hidden], prefix + "first_sum")
    first = _normalise(graph, weights, prefix + "first_sum", prefix + "attention.output.LayerNorm")
    wide = _linear(graph, weights, first, prefix + "intermediate.dense")
    graph.add("Gelu", [wide], prefix + "bent")
    narrow = _linear(graph, weights, prefix + "bent", prefix + "output.dense")
    graph.add("Add", [narrow, first], prefix + "second_sum")
    return _normalise(graph, weights, prefix + "second_sum", prefix + "output.LayerNorm")


def _linear(graph: _Graph, weights: Weights, hidden: str, name: str) -> str:
    weight = graph.constant(name + ".weight", weights[name + ".weight"].T)
    bias = graph.constant(name + ".bias", weights[name + ".bias"])
    graph.add("MatMul", [hidden, weight], name + ".product")
    return graph.add("Add", [name + ".product", bias], name)


def _normalise(graph: _Graph, weights: Weights, hidden: str, name: str) -> str:
    scale = graph.constant(name + ".weight", weights[name + ".weight"])
    shift = graph.constant(name + ".bias", weights[name + ".bias"])
    return graph.add("LayerNormalization", [hidden, scale, shift], name, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _outputs(graph: _Graph, hidden: str) -> None:
    from onnx import TensorProto

    last = graph.constant("last_axis", np.array([2], np.int64))
    second = graph.constant("second_axis", np.array([1], np.int64))
    graph.add("Cast", ["mask"], "mask_float", to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["mask_float", last], "mask_column")
    graph.add("Mul", [hidden, "mask_column"], "masked")
    graph.add("ReduceSum", ["masked", second], "total", keepdims=0)
    # the mean's divisor is left out: the unit length that follows makes it irrelevant
    graph.add("LpNormalization", ["total"], "sentence_embedding", axis=-1, p=2)
    graph.add("LpNormalization", [hidden], "token_embeddings", axis=-1, p=2)


def build(weights: Path, path: Path, precision: str) -> None:
    """Write the graph of the safetensors file *weights* to *path*."""
    from safetensors.numpy import load_file

    tensors = load_file(weights)
    if precision == "fp32":
        write_graph(tensors, path)
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "fp32.onnx"
        write_graph(tensors, whole)
        quantize(whole, path)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
