"""What an exported student runs on: a `Decoder`, found by the export's manifest."""

from mwalimu.runtimes.base import Decoder, Logits
from mwalimu.runtimes.loading import load_decoder, needs_torch
from mwalimu.runtimes.manifest import FORMATS, Export, read_export

__all__ = ["FORMATS", "Decoder", "Export", "Logits", "load_decoder", "needs_torch", "read_export"]
