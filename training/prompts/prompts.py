"""What one training prompt asks and what the right answer is.

The kinds differ in what the network is told, and so in what it must answer: clicks alone mean the
clicked object; clicks with a phrase mean the clicked object even where several bear its name; a
phrase alone means all that it denotes; a phrase for what is not there means nothing. Mixing up the
last two targets taught a first prototype to answer phrase + click with every such object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.data.sample import VOID, SampleObject
from training.data.transforms import View
from training.prompts import annotator
from training.prompts.phrases import Phrase, describe, name_absent, name_all
from training.prompts.picture_scene import PictureScene
from training.prompts.scenes import Seen
from training.prompts.vocabulary import CARRIED, WORN, concept_of, every_word_for

# Fewer pixels than this in view are not worth a prompt.
FEWEST_PIXELS = 60
# Sources whose semantic regions are one stuff or one thing, fit to be clicked as they are.
CLICKABLE_REGIONS = frozenset({"msrc", "camvid", "ecssd", "bsds", "human"})
# Sources that take one person apart: all their worn objects together are that person.
DISSECTED = frozenset({"ccp"})
# Sources that annotate all of their categories wherever those occur.
COMPLETE = frozenset(
    {"voc", "sbd", "coco", "refcoco", "refcoco+", "refcocog", "grefcoco", "synthetic"}
)
# From which round of corrections on a late phrase is known; 99: in the answer learned from alone.
LATE = (1, 2, 99)


@dataclass(frozen=True)
class PromptRecipe:
    """Shares of the kinds (clicks alone is the rest) and of the ways to begin."""

    both: float = 0.42
    phrase_only: float = 0.18
    absent: float = 0.03
    # Where people said something of the object: how often that is used, not a made phrase.
    human: float = 0.8
    # Of prompts with clicks and a phrase: the phrase comes first, the first click corrects it.
    phrase_first: float = 0.25
    # Of prompts with clicks and a phrase: the phrase is typed after the first clicks.
    phrase_late: float = 0.2
    # Of first clicks: the paper's random points instead of one central click.
    scattered: float = 0.25
    # Of first clicks on an object that people clicked: theirs, or the first few of them.
    people: float = 0.0
    # Of prompts with clicks and a phrase on a dissected person: "person", not the garment.
    whole_person: float = 0.25
    # Prompts with a phrase whose previous mask is another object's: the phrase was just changed.
    stale_phrase_only: float = 0.25
    stale_clicked: float = 0.06
    # How much likelier an object among others of its kind is asked for by a phrase: there a phrase
    # alone, a telling phrase and a phrase with a click have three different answers.
    among_several: float = 3.0


@dataclass
class Prompt:
    """One question. target: H,W in [0, 1]; void: H,W bool, does not count.

    The simulated annotator appends to ``clicks`` (x, y, sign) while the network answers.
    ``phrase_from``: the round from which on the phrase is known. ``stale``: H,W, the answer to an
    earlier phrase, shown as previous mask.
    """

    target: NDArray[np.float32]
    void: NDArray[np.bool_]
    phrase: Phrase | None = None
    clicks: list[tuple[float, float, int]] = field(default_factory=list)
    clickable: bool = True
    phrase_from: int = 0
    stale: NDArray[np.float32] | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        return self.target > 0.5


def make_prompt(
    scene: PictureScene,
    known: dict[str, tuple[str, ...]],
    recipe: PromptRecipe,
    rng: np.random.Generator,
) -> Prompt | None:
    """A random prompt about this view, None where it shows nothing to ask for.

    known: for each source, the concepts it annotates wherever they occur ("absent" is said only of
    those).
    """
    prompt = _make_prompt(scene, known, recipe, rng)
    if prompt is None or prompt.phrase is None:
        return prompt
    share = recipe.stale_clicked if prompt.clickable else recipe.stale_phrase_only
    if rng.random() < share:
        others = [each for each in scene.view.sample.objects if each.id not in prompt.phrase.ids]
        if others:
            other = others[int(rng.integers(len(others)))]
            prompt.stale = scene.view.soft_mask((other.id,))
    return prompt


def _make_prompt(
    scene: PictureScene,
    known: dict[str, tuple[str, ...]],
    recipe: PromptRecipe,
    rng: np.random.Generator,
) -> Prompt | None:
    chance = rng.random()
    source = scene.view.sample.source
    if chance < recipe.absent and known.get(source):
        absent = name_absent(scene.whole, known[source], rng)
        if absent is not None:
            return _prompt(scene.view, absent.ids, absent, clickable=False)
    if chance < recipe.absent + recipe.phrase_only:
        prompt = _phrase_only(scene, recipe, rng)
        if prompt is not None:
            return prompt
    with_phrase = chance < recipe.absent + recipe.phrase_only + recipe.both
    return _clicked(scene, recipe, rng, with_phrase=with_phrase)


def _phrase_only(
    scene: PictureScene, recipe: PromptRecipe, rng: np.random.Generator
) -> Prompt | None:
    expressions = scene.expressions()
    if expressions and rng.random() < recipe.human / 2:
        phrase = expressions[int(rng.integers(len(expressions)))]
        return _prompt(scene.view, phrase.ids, phrase, clickable=False)
    shown = scene.shown
    named = [each for each in shown.seen if each.concept and each.area > 0.003]
    if not named:
        return None
    crowded = np.array([len(shown.named(each.concept or "")) > 1 for each in named])
    one = named[_favoured(crowded, recipe.among_several, rng)]
    assert one.concept is not None
    if scene.view.sample.source in DISSECTED and rng.random() < recipe.whole_person / 2:
        return _whole_person(scene.view, rng)
    said = scene.human(one.about)
    if len(shown.named(one.concept)) > 1:
        # Typed beside a click a bare name meant this one; alone it means all of its kind.
        names = every_word_for(one.concept)
        said = [phrase for phrase in said if phrase.text.casefold().strip() not in names]
    if said and rng.random() < recipe.human:
        phrase = said[int(rng.integers(len(said)))]
        return _prompt(scene.view, phrase.ids, phrase, clickable=False)
    if rng.random() < 0.6 and not one.about.semantic:
        telling = describe(shown, one, rng, unique=True)
        if telling is not None:
            return _prompt(scene.view, telling.ids, telling, clickable=False)
    phrase = name_all(shown, one.concept, rng)
    return _prompt(scene.view, phrase.ids, phrase, clickable=False)


def _clicked(
    scene: PictureScene, recipe: PromptRecipe, rng: np.random.Generator, *, with_phrase: bool
) -> Prompt | None:
    view = scene.view
    candidates = [each for each in view.sample.objects if _may_be_clicked(each, view)]
    if not candidates:
        return None
    kinds = [concept_of(each.category) if each.category else "" for each in candidates]
    crowded = np.array([bool(kind) and with_phrase and kinds.count(kind) > 1 for kind in kinds])
    chosen = candidates[_favoured(crowded, recipe.among_several, rng)]
    dissected = view.sample.source in DISSECTED
    prompt: Prompt | None = None
    if with_phrase and dissected and rng.random() < recipe.whole_person:
        prompt = _whole_person(view, rng)
        # The click falls on the garment: the same place that means the garment under its name.
        clicked = view.soft_mask((chosen.id,)) > 0.5
    if prompt is None:
        phrase = None
        if with_phrase:
            phrase = _beside_a_click(scene, chosen, recipe, rng)
        prompt = _prompt(view, (chosen.id,), phrase, clickable=True)
        clicked = prompt.mask
    prompt.clickable = True
    if prompt.mask.sum() < FEWEST_PIXELS:
        return None
    start = rng.random()
    if prompt.phrase is not None and start < recipe.phrase_first:
        return prompt
    if prompt.phrase is not None and start < recipe.phrase_first + recipe.phrase_late:
        prompt.phrase_from = LATE[int(rng.integers(len(LATE)))]
    theirs = clicks_of_people(view, chosen, prompt)
    if theirs and rng.random() < recipe.people:
        prompt.clicks.extend(theirs[: int(rng.integers(1, len(theirs) + 1))])
        return prompt
    _first_clicks(prompt, clicked, view, recipe, rng)
    return prompt


def clicks_of_people(
    view: View, about: SampleObject, prompt: Prompt
) -> list[tuple[float, float, int]]:
    """The clicks (x, y, sign) by which somebody made this object, as they lie in the view.

    Clicks that contradict the mask which was accepted in the end are left out (whoever drew the
    rest by hand meant something else by them), and so are all where no positive one is left.
    """
    found = []
    for x, y, positive in about.clicks:
        place = view.place(x, y)
        if place is None:
            continue
        row, column = (min(int(place[1 - a]), view.instances.shape[a] - 1) for a in (0, 1))
        if bool(prompt.mask[row, column]) == positive and not prompt.void[row, column]:
            found.append((*place, 1 if positive else -1))
    return found if any(sign > 0 for _, _, sign in found) else []


def _beside_a_click(
    scene: PictureScene, about: SampleObject, recipe: PromptRecipe, rng: np.random.Generator
) -> Phrase | None:
    """What somebody might type who has clicked, or will click, on this object."""
    close = scene.view.kind == "close"
    said = scene.human(about, of_picture=close)
    if said and rng.random() < recipe.human:
        return said[int(rng.integers(len(said)))]
    facts = scene.whole if close else scene.shown
    seen: Seen | None = facts.of(about.id)
    # What has no category is mostly left unnamed: "red thing" is all that can be said.
    if seen is None or (seen.concept is None and rng.random() > 0.3):
        return None
    return describe(facts, seen, rng, unique=False)


def _first_clicks(
    prompt: Prompt,
    clicked: NDArray[np.bool_],
    view: View,
    recipe: PromptRecipe,
    rng: np.random.Generator,
) -> None:
    ways = annotator.ClickRecipe()
    inside = clicked if clicked.any() else prompt.mask
    if rng.random() >= recipe.scattered:
        points = annotator.central_click(inside, rng, jitter=float(rng.uniform(0.0, 0.7)))
        prompt.clicks.extend((float(x), float(y), 1) for x, y in points)
        return
    count = int(rng.integers(1, ways.most_positive + 1))
    positive = annotator.sample_positive(prompt.mask, count, rng, ways)
    prompt.clicks.extend((float(x), float(y), 1) for x, y in positive)
    strategy = int(rng.integers(4))
    if strategy == 1:
        count = int(rng.integers(1, ways.most_band + 1))
        negative = annotator.negative_in_band(prompt.mask, ~prompt.void, count, rng, ways)
    elif strategy == 2:
        others = [i for i in np.unique(view.instances) if i > 0]
        masks = [(view.instances == i) & ~prompt.mask & ~prompt.void for i in others]
        masks = [mask for mask in masks if mask.sum() >= FEWEST_PIXELS]
        picked = rng.permutation(len(masks))[:3]
        count = int(rng.integers(1, ways.most_other + 1))
        negative = annotator.negative_in_others([masks[i] for i in picked], count, rng, ways)
    elif strategy == 3:
        count = int(rng.integers(1, ways.most_spread + 1))
        negative = annotator.negative_spread(prompt.mask, ~prompt.void, count, rng, ways)
    else:
        return
    prompt.clicks.extend((float(x), float(y), -1) for x, y in negative)


def _whole_person(view: View, rng: np.random.Generator) -> Prompt | None:
    """All that the one dissected person is made of; bags may or may not belong: void."""
    worn = [each for each in view.sample.objects if each.category in WORN]
    if not worn:
        return None
    carried = tuple(each.id for each in worn if each.category in CARRIED)
    ids = tuple(each.id for each in worn if each.id not in carried)
    words = ("person", "woman", "person", "girl", "the person", "the whole person", "human")
    text = words[int(rng.integers(len(words)))]
    prompt = _prompt(view, ids, Phrase(text, ids, ("person",)), clickable=False)
    prompt.void |= np.isin(view.instances, carried)
    return prompt


def _prompt(view: View, ids: tuple[int, ...], phrase: Phrase | None, *, clickable: bool) -> Prompt:
    void = view.instances == VOID
    if phrase is not None and phrase.unsure:
        void = void | np.isin(view.instances, phrase.unsure)
    target = view.soft_mask(ids) if ids else np.zeros(void.shape, np.float32)
    return Prompt(target, void, phrase, clickable=clickable)


def _favoured(which: NDArray[np.bool_], factor: float, rng: np.random.Generator) -> int:
    """A random index, those marked ``factor`` times as likely as the others."""
    weights = np.where(which, factor, 1.0)
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _may_be_clicked(each: SampleObject, view: View) -> bool:
    if each.semantic and view.sample.source not in CLICKABLE_REGIONS:
        return False
    return int((view.instances == each.id).sum()) >= FEWEST_PIXELS


def annotated_concepts(objects: dict[str, set[str]]) -> dict[str, tuple[str, ...]]:
    """For each source, its concepts in a fixed order; sources that leave things out say nothing.

    objects: the categories that occur in each source.
    """
    return {
        source: tuple(sorted({concept_of(each) for each in categories}))
        for source, categories in objects.items()
        if source in COMPLETE
    }
