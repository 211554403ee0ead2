"""The export stage: every target made, measured on its own runtime, held to its gate, packed."""
