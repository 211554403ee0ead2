"""Before stage 1: from a few seeds, topics, personas or documents to many prompts."""

from mwalimu.synthesis.prompts.synthesise import synthesise

__all__ = ["synthesise"]
