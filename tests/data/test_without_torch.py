"""In processes of their own: this one has torch."""

import json
import subprocess
import sys
from pathlib import Path

from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
from tests.tiny import make_tiny_model

CHAT = [{"role": "user", "content": "Where is order 17? \u00e9\u4e16"}]
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("error")
from mwalimu.data.without_torch import leave_torch_out
leave_torch_out()
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
tokenizer = load_tokenizer(sys.argv[1])
prepare_tokenizer(tokenizer)
ids = encode_prompt(tokenizer, json.loads(sys.argv[2]))
text = tokenizer.decode(ids)
without = "torch" not in sys.modules
import torch
print(json.dumps([ids, text, without, torch.ones(2).sum().item()]))
"""


def test_a_tokenizer_says_the_same_without_torch(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny")
    tokenizer = load_tokenizer(str(folder))
    prepare_tokenizer(tokenizer)
    ids = encode_prompt(tokenizer, CHAT)
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(CHAT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [ids, tokenizer.decode(ids), True, 2.0]


def test_where_torch_is_imported_nothing_happens() -> None:
    program = (
        "import torch, os; from mwalimu.data.without_torch import leave_torch_out as leave\n"
        "before = dict(os.environ); leave(); import sys\n"
        "assert sys.modules['torch'] is torch and 'transformers' not in sys.modules\n"
        "assert dict(os.environ) == before\n"
        "from transformers import AutoModelForCausalLM as auto; assert auto.from_config"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
