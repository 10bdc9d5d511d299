#!/usr/bin/env python3
"""Compares the `llama` example with the implementation of Llama in Hugging Face transformers, on PyTorch.

    python3 -m venv venv && venv/bin/pip install torch safetensors 'transformers<5'
    cargo build -p nki-kernels --example llama
    venv/bin/python kernels/scripts/compare_llama.py --layers 2

A model with random weights of the shape of Llama 3.2 1B (or of `--hidden` and so on) is made there and saved as `.safetensors`; the
example reads weights and configuration, prefills the prompt, decodes, and writes its logits, which are compared row by row with those
that PyTorch computes in float32 from the same weights and the same tokens. Exit code 1 if they differ by more than the tolerance
of the dtype, as a part of the range of logits.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

# Of the range of logits: roundings of two dozen kernels, each of a few units in the last place.
TOLERANCE = {"bf16": 2e-2, "f16": 5e-3, "f32": 1e-4}
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", default="target/debug/examples/llama", help="the compiled example")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--inner", type=int, default=8192)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--prompt-length", type=int, default=45)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--mode", default="host")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def model(a):
    torch.manual_seed(a.seed)
    config = transformers.LlamaConfig(
        hidden_size=a.hidden,
        intermediate_size=a.inner,
        num_hidden_layers=a.layers,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        vocab_size=a.vocabulary,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
        tie_word_embeddings=True,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )
    made = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            # Gains away from 1, so that leaving one out shows.
            if weight.dim() == 1:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(0.0, weight.shape[1] ** -0.5)
    return made.to(DTYPES[a.dtype]).eval()


def main():
    a = arguments()
    made = model(a)
    prompt = torch.randint(0, a.vocabulary, (a.prompt_length,)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made.save_pretrained(folder, safe_serialization=True)
        command = [a.example, "--config", str(folder / "config.json"), "--dtype", a.dtype, "--mode", a.mode]
        for file in sorted(folder.glob("*.safetensors")):
            command += ["--weights", str(file)]
        command += ["--prompt", ",".join(map(str, prompt)), "--tokens", str(a.tokens)]
        command += ["--logits", str(folder / "logits.safetensors")]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")
        ours = next(iter(load_file(folder / "logits.safetensors").values()))
    made = made.float()
    chosen = ours.argmax(dim=1).tolist()
    ids = torch.tensor([prompt + chosen[:-1]])
    with torch.no_grad():
        theirs = made(ids).logits[0, a.prompt_length - 1 :]
    worst, agree = 0.0, 0
    for row, (x, y) in enumerate(zip(ours, theirs)):
        off = ((x - y).abs().max() / y.abs().max()).item()
        worst, agree = max(worst, off), agree + int(x.argmax() == y.argmax())
        print(f"row {row}: off by {off:.2e} of the range, largest {int(x.argmax())} and {int(y.argmax())}")
    tolerance = TOLERANCE[a.dtype]
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: off by {worst:.2e} of the range, "
          f"{tolerance:.0e} allowed; the same token in {agree} of {len(ours)} rows")
    return 0 if worst <= tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
