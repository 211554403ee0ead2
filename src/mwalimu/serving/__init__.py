"""An OpenAI-compatible server over any `Decoder`."""
