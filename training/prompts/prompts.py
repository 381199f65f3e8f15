"""Training prompts: what the network is given, and the right answer.

Clicks alone mean the clicked object. Clicks with a phrase mean the clicked object, even if several
have its name. A phrase alone means everything that it denotes; a phrase for something absent means
nothing.

If one click has two right answers (a part and the whole, a garment and the person), the phrase
decides. Such clicks come in twins: the same click twice, once with each name. A phrase together
with a click on something else has no defined meaning and is never trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from model.spelling import key_of
from training.data.sample import VOID, SampleObject, pick
from training.data.transforms import Box
from training.prompts.boxes_and_masks import box_of_people, imperfect_mask, jittered_box
from training.prompts.clicks import (
    FEWEST_PIXELS,
    LARGEST_JITTER,
    Click,
    clicks_of_people,
    corrections,
    first_clicks,
    others_in_view,
)
from training.prompts.phrases import describe, name_absent, name_several
from training.prompts.scenes import CLICKABLE_REGIONS, INCOMPLETE, WHOLES, Phrase, PictureScene
from training.prompts.vocabulary import every_word_for

GivenMask = Literal["", "first", "last"]
"""When a given previous mask enters: before the first answer, as the answer before the last one, or
never ("")."""


@dataclass(frozen=True)
class PromptRecipe:
    """Shares of the kinds of prompts (the rest is clicks alone) and of the ways to start."""

    both: float = 0.42
    phrase_only: float = 0.18
    # Of phrases alone that no person wrote: the bare name, which asks for all that bear it.
    bare_name: float = 0.4
    absent: float = 0.03
    # If people wrote phrases for the object: how often one is used instead of a generated one.
    human: float = 0.8
    # Of prompts with clicks and a phrase: the phrase comes first, and the first click corrects it.
    phrase_first: float = 0.25
    # Of prompts with clicks and a phrase: the phrase comes after the first clicks, in any round.
    phrase_late: float = 0.2
    # Of first clicks: the paper's random points instead of one central click.
    scattered: float = 0.25
    # Of first clicks: 3 to 20 at once, as after a long correction.
    many_clicks: float = 0.08
    # Of first clicks with a phrase, and of those without: anywhere inside, or near the border.
    poor_click: float = 0.35
    poor_click_alone: float = 0.1
    # Of prompts with clicks and a phrase: the same click again with another name, if two objects
    # are under it.
    twins: float = 0.5
    # How many times as often an object with parts on it is asked for by clicks and a phrase.
    two_answers: float = 2.0
    # Of first clicks on an object that people clicked: their clicks, or the first few of them.
    people: float = 0.0
    # Of prompts with clicks and a phrase on a dissected whole (a person's garments, a house's
    # windows): the whole, not the part.
    whole: float = 0.25
    # Of all prompts for something in view: with a box around it; of those, without a click.
    boxed: float = 0.12
    box_only: float = 0.5
    # Of prompts with clicks: a given previous mask that the first click corrects. More often in
    # details, since there the predictor always has a previous mask.
    given_mask: float = 0.12
    given_mask_detail: float = 0.6
    # Of prompts with a phrase: the previous mask is another object's, as after changing the phrase.
    stale_phrase_only: float = 0.25
    stale_clicked: float = 0.06
    # How many times as often an object among others of its kind is asked for by a phrase. There a
    # bare name, a unique phrase and a phrase with a click have three different answers.
    among_several: float = 3.0


@dataclass
class Prompt:
    """One prompt. target: H,W in [0, 1]; void: H,W bool, ignored by loss and clicks.

    clicks: (x, y, sign); the simulated annotator appends more while the network answers. clickable:
    whether it does. phrase_late: the share of the rounds after which the phrase is known; 0: from
    the start. given: H,W in [0, 1], a previous mask that the network did not make, used as
    ``given_when`` says. box: known from the start. drawn: the one that an annotator drew around
    this object, used in place of a simulated one.
    """

    target: NDArray[np.float32]
    void: NDArray[np.bool_]
    phrase: Phrase | None = None
    clicks: list[Click] = field(default_factory=list)
    clickable: bool = True
    phrase_late: float = 0.0
    box: Box | None = None
    drawn: Box | None = None
    given: NDArray[np.float32] | None = None
    given_when: GivenMask = ""

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        return self.target > 0.5


class PromptMaker:
    """Makes random prompts about one view, by the recipe's shares."""

    def __init__(
        self,
        scene: PictureScene,
        known: Mapping[str, tuple[str, ...]],
        recipe: PromptRecipe,
        rng: np.random.Generator,
    ) -> None:
        """known: by source, the concepts that it annotates wherever they occur; only those can be
        absent."""
        self.scene, self.view = scene, scene.view
        self.recipe, self.rng = recipe, rng
        self._source = scene.view.sample.source
        self._known = known.get(self._source, ())

    def several(self, count: int) -> list[Prompt]:
        """Up to ``count`` prompts; none if the view shows nothing to ask for."""
        prompts: list[Prompt] = []
        for _ in range(count):
            prompt = self.one() if len(prompts) < count else None
            if prompt is None:
                continue
            prompts.append(prompt)
            if len(prompts) < count and self.rng.random() < self.recipe.twins:
                prompts.extend(self._twin(prompt))
        return prompts

    def one(self) -> Prompt | None:
        """One prompt; None if the view shows nothing to ask for."""
        recipe, rng = self.recipe, self.rng
        prompt = self._phrase_or_clicks()
        if prompt is None:
            return None
        if rng.random() < recipe.boxed:
            prompt.box = prompt.drawn or jittered_box(prompt.mask & ~prompt.void, rng)
            if prompt.box is not None and prompt.clickable and rng.random() < recipe.box_only:
                prompt.clicks.clear()
        if prompt.clickable and prompt.clicks:
            detail = self.view.kind == "detail"
            if rng.random() < (recipe.given_mask_detail if detail else recipe.given_mask):
                self._give_mask(prompt)
        if prompt.phrase is not None and not prompt.given_when:
            share = recipe.stale_clicked if prompt.clickable else recipe.stale_phrase_only
            others = [o for o in self.view.sample.objects if o.id not in prompt.phrase.ids]
            if rng.random() < share and others:
                prompt.given = self.view.soft_mask((pick(others, self.rng).id,))
                prompt.given_when = "last"
        return prompt

    def _phrase_or_clicks(self) -> Prompt | None:
        recipe = self.recipe
        chance = self.rng.random()
        phrase: Phrase | None = None
        if self.view.kind != "detail":
            if chance < recipe.absent and self._known:
                phrase = name_absent(self.scene.whole, self._known, self.rng)
            alone = chance < recipe.absent + recipe.phrase_only and self._source not in INCOMPLETE
            if phrase is None and alone:
                phrase = self._phrase_alone()
        if phrase is not None:
            return self._prompt(phrase.ids, phrase, clickable=False)
        return self._clicked(chance < recipe.absent + recipe.phrase_only + recipe.both)

    def _phrase_alone(self) -> Phrase | None:
        """A phrase that needs no click; None if nothing in view is large enough."""
        recipe, rng = self.recipe, self.rng
        expressions = self.scene.expressions()
        if expressions and rng.random() < recipe.human / 2:
            return pick(expressions, self.rng)
        shown = self.scene.shown
        named = [thing for thing in shown.seen if thing.concept and shown.is_worth_naming(thing)]
        if not named:
            return None
        crowded = [len(shown.named(thing.concept or "")) > 1 for thing in named]
        one = named[self._weighted(np.where(crowded, recipe.among_several, 1.0))]
        assert one.concept is not None
        if self._source in WHOLES and rng.random() < recipe.whole / 2:
            whole = self._whole()
            if whole is not None:
                return whole
        said = self.scene.human(one.about)
        if len(shown.named(one.concept)) > 1:
            # With a click a bare name meant this one; alone it means all of its kind.
            names = every_word_for(one.concept)
            said = [phrase for phrase in said if key_of(phrase.text) not in names]
        if said and rng.random() < recipe.human:
            return pick(said, self.rng)
        if rng.random() < 1.0 - recipe.bare_name and not one.about.semantic:
            telling = describe(shown, one, rng, unique=True)
            if telling is not None:
                return telling
        return name_several(shown, one.concept, rng)

    def _clicked(self, with_phrase: bool) -> Prompt | None:
        view, recipe, rng = self.view, self.recipe, self.rng
        candidates = [about for about in view.sample.objects if self._may_be_clicked(about)]
        if not candidates:
            return None
        chosen = self._chosen(candidates, with_phrase)
        # A click that means the target must be on its visible part.
        clicked = view.instances == chosen.id
        whole: Phrase | None = None
        if with_phrase and self._source in WHOLES and rng.random() < recipe.whole:
            # The click is on the part, where the part's own name would mean the part.
            whole = self._whole()
        if whole is not None and chosen.id in whole.ids:
            prompt = self._prompt(whole.ids, whole)
        else:
            phrase = self._beside_a_click(chosen) if with_phrase else None
            prompt = self._prompt((chosen.id,), phrase)
            prompt.drawn = box_of_people(view, chosen)
            covered = prompt.mask & ~clicked & (view.instances > 0)
            if phrase is not None and covered.sum() >= FEWEST_PIXELS and rng.random() < 0.5:
                # Click on something smaller on top of it, which a click alone would mean.
                clicked = covered
        if prompt.mask.sum() < FEWEST_PIXELS:
            return None
        start = rng.random()
        if prompt.phrase is not None and start < recipe.phrase_first:
            return prompt
        if prompt.phrase is not None and start < recipe.phrase_first + recipe.phrase_late:
            prompt.phrase_late = 1.0 - float(rng.random())
        theirs = clicks_of_people(view, chosen, prompt.mask, prompt.void)
        if theirs and rng.random() < recipe.people:
            prompt.clicks.extend(theirs[: int(rng.integers(1, len(theirs) + 1))])
            return prompt
        prompt.clicks += first_clicks(
            prompt.mask,
            clicked & prompt.mask,
            prompt.void,
            view,
            rng,
            many=recipe.many_clicks,
            scattered=recipe.scattered,
            poor=recipe.poor_click_alone if prompt.phrase is None else recipe.poor_click,
        )
        return prompt

    def _chosen(self, candidates: list[SampleObject], with_phrase: bool) -> SampleObject:
        """The object to click: in a detail mostly its own; with a phrase mostly an ambiguous
        one."""
        view, recipe = self.view, self.recipe
        own = [about for about in candidates if view.kind == "detail" and about.id == view.about]
        if own and self.rng.random() < 0.8:
            return own[0]
        if not with_phrase:
            return pick(candidates, self.rng)
        kinds = [about.concept for about in candidates]
        crowded = [kind is not None and kinds.count(kind) > 1 for kind in kinds]
        layered = [about.id in view.sample.masks for about in candidates]
        weights = np.where(crowded, recipe.among_several, 1.0)
        return candidates[self._weighted(weights * np.where(layered, recipe.two_answers, 1.0))]

    def _beside_a_click(self, about: SampleObject) -> Phrase | None:
        """A phrase that an annotator might type for an object that is also clicked; maybe None."""
        close = self.view.kind in ("close", "detail")
        said = self.scene.human(about, of_picture=close)
        if said and self.rng.random() < self.recipe.human:
            return pick(said, self.rng)
        facts = self.scene.whole if close else self.scene.shown
        seen = facts.of(about.id)
        # Objects without a category mostly get no phrase: "red thing" is all that can be said.
        if seen is None or (seen.concept is None and self.rng.random() > 0.3):
            return None
        return describe(facts, seen, self.rng, unique=False)

    def _twin(self, prompt: Prompt) -> list[Prompt]:
        """The prompt's first click again, with the name of something else under it, if any."""
        phrase, view = prompt.phrase, self.view
        if not prompt.clickable or not prompt.clicks or phrase is None or prompt.given_when:
            return []
        x, y, sign = prompt.clicks[0]
        if sign < 0 or prompt.box is not None:
            return []
        row, column = int(y), int(x)
        candidates = [
            about
            for about in view.sample.objects
            if about.id not in phrase.ids
            and (about.id in view.sample.masks or view.instances[row, column] == about.id)
            and self._may_be_clicked(about)
            and view.soft_mask((about.id,))[row, column] > 0.5
        ]
        name: Phrase | None = None
        if candidates:
            name = self._beside_a_click(pick(candidates, self.rng))
        elif len(phrase.ids) == 1:
            name = self._whole()
        if name is None or name.text == phrase.text:
            return []
        twin = self._prompt(name.ids, name)
        twin.clicks.append((x, y, 1))
        return [twin] if twin.mask[row, column] and twin.mask.sum() >= FEWEST_PIXELS else []

    def _give_mask(self, prompt: Prompt) -> None:
        """Start from a mask with errors, and a click in its largest error."""
        shown = self.rng.permutation(np.array(others_in_view(self.view), int))[:4]
        masks = [self.view.instances == number for number in shown]
        others = [mask for mask in masks if not (mask & prompt.mask).any()]
        mask = imperfect_mask(prompt.mask, others, self.rng)
        if mask is None:
            return
        target, answer, void = (torch.tensor(one)[None] for one in (prompt.mask, mask, prompt.void))
        drawn = self.rng.uniform((0.0, 0.0), (LARGEST_JITTER, 1.0))
        jitter, place = torch.from_numpy(drawn)[:, None]
        x, y, sign = corrections(target, answer, void, jitter, place)[0].tolist()
        if not sign:
            return
        # Some of these masks started with clicks before they were painted.
        earlier = prompt.clicks[:3] if self.rng.random() < 0.4 else []
        kept = [c for c in earlier if bool(mask[int(c[1]), int(c[0])]) == (c[2] > 0)]
        prompt.clicks[:] = [*kept, (x, y, int(sign))]
        prompt.given, prompt.given_when = mask.astype(np.float32), "first"

    def _whole(self) -> Phrase | None:
        """A name for all parts of the one whole in view, of which only parts are annotated."""
        whole = WHOLES.get(self._source)
        if whole is None:
            return None
        parts = [about for about in self.view.sample.objects if about.category in whole.parts]
        if whole.single and sum(part.category == whole.single for part in parts) != 1:
            return None
        ids = tuple(part.id for part in parts if part.category not in whole.unsure)
        if not ids:
            return None
        unsure = tuple(part.id for part in parts if part.category in whole.unsure)
        return Phrase(pick(whole.names, self.rng), ids, (whole.concept,), unsure)

    def _prompt(
        self, ids: tuple[int, ...], phrase: Phrase | None, *, clickable: bool = True
    ) -> Prompt:
        void = self.view.instances == VOID
        if phrase is not None and phrase.unsure:
            void = void | np.isin(self.view.instances, phrase.unsure)
        target = self.view.soft_mask(ids) if ids else np.zeros(void.shape, np.float32)
        return Prompt(target, void, phrase, clickable=clickable)

    def _may_be_clicked(self, about: SampleObject) -> bool:
        single = not about.semantic or self._source in CLICKABLE_REGIONS
        return single and bool(self.view.areas[about.id + 1] >= FEWEST_PIXELS)

    def _weighted(self, weights: NDArray[np.float64]) -> int:
        """A random index, drawn by these weights."""
        return int(self.rng.choice(len(weights), p=weights / weights.sum()))
