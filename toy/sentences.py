"""Indirect-object sentences: the toy model's language, vocabulary and tokenizer.

A sentence names two people, then repeats one of them (the subject) as the giver; the word that
follows is the other one (the indirect object):

    When Mary and John went to the store , John gave a drink to  ->  Mary

Nothing here depends on torch: the demo and the tests import it to build prompts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
PAD, EOS, BOS, UNK = SPECIAL

NAMES = (
    "Mary", "John", "Tom", "Anna", "Peter", "Lucy", "Paul", "Emma",
    "James", "Sara", "David", "Kate", "Mark", "Alice",
)  # fmt: skip
PLACES = ("store", "park", "school", "beach", "office", "station", "garden", "museum")
OBJECTS = ("drink", "book", "ring", "key", "ball", "letter", "flower", "map")
VERBS = ("gave", "handed", "passed", "offered")
OPENINGS = ("When", "After", "While")

# {first} and {second} are the two people, {giver} is one of them again.
TEMPLATES = (
    "{opening} {first} and {second} went to the {place} , {giver} {verb} a {object} to",
    "{opening} {first} and {second} were at the {place} , {giver} {verb} the {object} to",
    "Then {first} and {second} walked to the {place} . {giver} {verb} a {object} to",
    "{first} and {second} met at the {place} and {giver} {verb} the {object} to",
    "The {place} was closed when {first} and {second} came , so {giver} {verb} a {object} to",
)


@dataclass(frozen=True)
class Sentence:
    """One prompt and the word that must follow it.

    Attributes:
        text: the prompt, words separated by single spaces.
        subject: the name that occurs twice; the wrong answer.
        indirect_object: the name that occurs once; the right answer.
    """

    text: str
    subject: str
    indirect_object: str

    def with_giver_swapped(self) -> Sentence:
        """The same sentence in which the other person gives, so that the answer turns round."""
        words = self.text.split()
        giver = len(words) - 1 - words[::-1].index(self.subject)
        words[giver] = self.indirect_object
        return Sentence(" ".join(words), self.indirect_object, self.subject)


def example() -> Sentence:
    """The sentence of the documentation; it is one of those held out."""
    return Sentence("When Mary and John went to the store , John gave a drink to", "John", "Mary")


def is_held_out(place: str, item: str) -> bool:
    """Whether training keeps off sentences with this place and this object; one in eight does."""
    return (PLACES.index(place) + OBJECTS.index(item)) % len(PLACES) == 0


def sample(rng: random.Random, *, held_out: bool) -> Sentence:
    """Draws one sentence; `held_out` chooses among those kept for evaluation, or the rest."""
    first, second = rng.sample(NAMES, 2)
    subject, indirect_object = rng.sample((first, second), 2)
    while True:
        place, item = rng.choice(PLACES), rng.choice(OBJECTS)
        if is_held_out(place, item) == held_out:
            break
    text = rng.choice(TEMPLATES).format(
        first=first,
        second=second,
        giver=subject,
        opening=rng.choice(OPENINGS),
        place=place,
        verb=rng.choice(VERBS),
        object=item,
    )
    return Sentence(text, subject, indirect_object)


def stream(seed: int, *, held_out: bool) -> Iterator[Sentence]:
    """An endless sequence of sentences that depends on the seed alone."""
    rng = random.Random(seed)
    while True:
        yield sample(rng, held_out=held_out)


def vocabulary() -> dict[str, int]:
    """Every word and its id: the special tokens first, at the ids that Gemma gives them."""
    words: dict[str, int] = {token: index for index, token in enumerate(SPECIAL)}
    fillers = [word for text in TEMPLATES for word in text.split() if not word.startswith("{")]
    for word in (*NAMES, *PLACES, *OBJECTS, *VERBS, *OPENINGS, *fillers):
        words.setdefault(word, len(words))
    return words
