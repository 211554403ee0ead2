"""Answers a prompt: pip install onnxruntime-genai tokenizers; python sample.py "your prompt" """

import json
import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which already writes it down
import onnxruntime_genai as genai
from tokenizers import Tokenizer

folder = Path(__file__).parent
model = genai.Model(str(folder))
chat = json.dumps([{"role": "user", "content": sys.argv[1]}])
text = genai.Tokenizer(model).apply_chat_template(chat, add_generation_prompt=True)

tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
ids = tokenizer.encode(text, add_special_tokens=False).ids
context = json.loads((folder / "export.json").read_text())["context"]
parameters = genai.GeneratorParams(model)
parameters.set_search_options(do_sample=False, max_length=min(len(ids) + 256, context))
generator = genai.Generator(model, parameters)
generator.append_tokens(ids)
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)[len(ids) :], skip_special_tokens=True))
