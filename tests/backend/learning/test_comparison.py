"""The gate's rules by project, setting and budget."""

import pytest

from backend.learning.comparison import gate_rules
from backend.registry.champions import EVERYONE
from backend.settings import Settings
from training.finetune.recipe import Budget
from training.gate.rules import STANDARD, General


@pytest.mark.parametrize(
    ("project", "setting", "budget", "general", "questions"),
    [
        ("1.1", "warn", "quick", "warn", STANDARD.most_general // 2),
        ("1.1", "warn", "thorough", "warn", STANDARD.most_general),
        ("1.1", "veto", "quick", "veto", STANDARD.most_general),
        (EVERYONE, "warn", "quick", "veto", STANDARD.most_general),
    ],
)
def test_a_general_set_that_only_warns_gets_fewer_questions_after_a_quick_training(
    settings: Settings,
    project: str,
    setting: General,
    budget: Budget,
    general: General,
    questions: int,
) -> None:
    chosen = settings.model_copy(update={"gate_general": setting})

    rules = gate_rules(chosen, project, budget)

    assert (rules.general, rules.most_general) == (general, questions)
