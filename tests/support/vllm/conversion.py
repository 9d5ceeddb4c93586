"""A chat model's GGUF file as a plain folder that vLLM loads; run as a program by the environment that ``recipe`` builds.

Belongs here: one conversion. Does not belong here: choosing the model. A newcomer would get wrong: transformers reads GGUF files and
refuses to save what it read, so weights, configuration and tokenizer are written one by one.
"""

import json
import sys
from pathlib import Path


def convert(file: Path, folder: Path) -> None:
    """Write the model in *file* to *folder*, in bfloat16."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32).to(torch.bfloat16)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tied = "lm_head.weight" in tensors and torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])
    if tied:
        del tensors["lm_head.weight"]
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config |= {"architectures": [type(model).__name__], "dtype": "bfloat16", "torch_dtype": "bfloat16", "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=str), encoding="utf-8")
    tokenizer.save_pretrained(str(folder))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
