"""Asks the student through llama.cpp alone: python sample.py "a question"."""

import sys
from pathlib import Path

from llama_cpp import Llama

student = Llama(str(Path(__file__).with_name("model.gguf")), n_ctx=0, verbose=False)
messages = [{"role": "user", "content": sys.argv[1]}]
answer = student.create_chat_completion(messages, temperature=0, repeat_penalty=1, max_tokens=128)
print(answer["choices"][0]["message"]["content"])
