"""The one sentence an annotator sees with every answer.

Label Studio shows no error and no message of a backend; a text area that the config names for it is
the only place to say what was understood, or what went wrong and what to do. It is 64 px high, so a
sentence is cut to what fits, the least needed part first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.errors import PhraseClickError

# Two lines of the banner at a usual window width.
MAX_CHARACTERS = 190

# One fixed id: each answer replaces the line before it.
STATUS_ID = "status"

_UNSURE = 0.5


@dataclass(frozen=True)
class Understood:
    """What an answer rests on, in the annotator's terms."""

    positives: int
    negatives: int
    label: str
    confidence: float
    found: bool  # whether the mask holds a pixel at all
    phrase: str = ""  # as typed; empty where none was or the label's name stood in
    known: bool = True  # whether a word of the phrase was understood
    corrected: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def understood(it: Understood) -> str:
    """What was understood, what was read otherwise than typed, and what to do next."""
    prompts = ", ".join(part for part in (_clicks(it.positives, it.negatives), _quoted(it)) if part)
    if not it.known and not it.positives and not it.negatives:
        return _fitting([f"{prompts}: no word of this is known"], "type others or click")
    if it.found:
        said = f"{prompts} → {it.label}, {_percent(it.confidence)}"
    else:
        said = f"{prompts} → {it.label}: nothing found here"
    said = said.removeprefix(" → ")
    parts = [said, *(_words(it)), *(note.rstrip(".") for note in it.notes if note)]
    return _fitting(parts, _advice(it))


def failed(error: BaseException) -> str:
    """What went wrong and what to do, as a sentence; never a traceback, never a secret."""
    if isinstance(error, PhraseClickError) and str(error):
        sentence = " ".join(str(error).split())
    else:
        sentence = (
            f"The backend failed on this request ({type(error).__name__}). "
            "Try again; the admin finds the cause in the backend's log."
        )
    if sentence[-1] not in ".!?…":
        sentence += "."
    return _cut(sentence)


def noted(notes: Sequence[str]) -> str:
    """Only remarks, where a request holds nothing to answer with a mask."""
    return _cut(". ".join(note.rstrip(".") for note in notes) + ".")


def status_item(from_name: str, to_name: str, sentence: str) -> dict[str, Any]:
    """The sentence as Label Studio takes it: a text area result that replaces the one before."""
    return {
        "id": STATUS_ID,
        "from_name": from_name,
        "to_name": to_name,
        "type": "textarea",
        "value": {"text": [sentence]},
    }


def _clicks(positives: int, negatives: int) -> str:
    total = positives + negatives
    if not total:
        return ""
    if not positives:
        return f"{_count(negatives, 'negative click')}"
    return _count(total, "click") + (f", {negatives} negative" if negatives else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _quoted(it: Understood) -> str:
    return f"'{_cut(it.phrase, 60)}'" if it.phrase else ""


def _percent(confidence: float) -> str:
    # 100 % would promise more than a model can.
    return f"{min(99, max(0, round(confidence * 100)))} %"


def _words(it: Understood) -> list[str]:
    said = []
    if it.corrected:
        said.append(_listed([f"'{typed}' read as '{known}'" for typed, known in it.corrected]))
    if it.ignored:
        verb = "is" if len(it.ignored) == 1 else "are"
        said.append(f"{_listed([_quote_word(word) for word in it.ignored])} {verb} not known")
    return said


def _quote_word(word: str) -> str:
    return f"'{_cut(word, 24)}'"


def _listed(items: Sequence[str], at_most: int = 3) -> str:
    shown = list(items[:at_most])
    rest = len(items) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _advice(it: Understood) -> str:
    if not it.found:
        return (
            "click on the object" if not it.positives else "click elsewhere on it or type a phrase"
        )
    if not it.positives and not it.negatives:
        return "click on the object if it is another one"
    if it.confidence < _UNSURE:
        return "not sure: another click or a phrase helps"
    return "Ctrl+Alt-click inside the mask takes away"


def _fitting(parts: Sequence[str], advice: str) -> str:
    said = "; ".join(parts)
    whole = f"{said}; {advice}"
    return whole if len(whole) <= MAX_CHARACTERS else _cut(said)


def _cut(text: str, at_most: int = MAX_CHARACTERS) -> str:
    return text if len(text) <= at_most else text[: at_most - 1].rstrip() + "…"
