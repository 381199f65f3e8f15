"""Interaction memory: which object a click or phrase belongs to, kept in the database alone."""

from backend.memory.interaction import ClickPrompt, Interaction, PhrasePrompt
from backend.memory.interaction_memory import InteractionMemory
from backend.memory.policy import Policy
from backend.memory.turn import Counts, Outcome, RememberedClick, TargetView, Touches, Turn

__all__ = [
    "ClickPrompt",
    "Counts",
    "Interaction",
    "InteractionMemory",
    "Outcome",
    "PhrasePrompt",
    "Policy",
    "RememberedClick",
    "TargetView",
    "Touches",
    "Turn",
]
