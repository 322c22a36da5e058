"""Prompts that the toy has learnt to complete: it answers with the one who does not give."""

CLEAN = "When Mary and John went to the store , John gave a drink to"
CORRUPTED = "When Mary and John went to the store , Mary gave a drink to"
GIVER = 10
"""Where the prompts differ, with the beginning-of-sequence token in front."""
