"""The phrase encoder: a bidirectional LSTM over word vectors, as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence


class WordBatch(NamedTuple):
    """Word vectors of B phrases, padded to L.

    vectors: B,L,D float. length: B int64, words that count; 0 = no phrase. L may be 0.
    """

    vectors: Tensor
    length: Tensor


def no_words(batch: int, word_dim: int, device: torch.device | None = None) -> WordBatch:
    """B prompts without a phrase."""
    return WordBatch(
        torch.zeros(batch, 0, word_dim, device=device),
        torch.zeros(batch, dtype=torch.long, device=device),
    )


def padded_words(
    phrases: Sequence[NDArray[np.float32]], device: torch.device | None = None
) -> WordBatch:
    """The L,D word vectors of each of B phrases as one batch; L may differ, and may be 0."""
    vectors = [torch.tensor(words) for words in phrases]
    lengths = torch.tensor([len(words) for words in phrases], device=device)
    return WordBatch(pad_sequence(vectors, batch_first=True).to(device), lengths)


class PhraseEncoder(nn.Module):
    """Paper: word2vec vectors, a bidirectional LSTM, and its two final states concatenated."""

    def __init__(self, word_dim: int, phrase_dim: int) -> None:
        super().__init__()
        self.word_dim = word_dim
        self.phrase_dim = phrase_dim
        self.lstm = nn.LSTM(word_dim, phrase_dim, batch_first=True, bidirectional=True)

    @property
    def out_dim(self) -> int:
        """Length of the phrase state: both directions."""
        return 2 * self.phrase_dim

    def forward(self, words: WordBatch) -> Tensor:
        """B,2P: the final states forward and backward; zeros without a phrase."""
        vectors, length = words
        batch = length.shape[0]
        state = vectors.new_zeros(batch, self.out_dim)
        spoken = torch.nonzero(length > 0).flatten()
        if vectors.shape[1] == 0 or spoken.numel() == 0:
            return state
        packed = pack_padded_sequence(
            vectors[spoken], length[spoken].cpu(), batch_first=True, enforce_sorted=False
        )
        # Always in float32: it takes little time, and some processors support nothing else.
        with torch.autocast(vectors.device.type, enabled=False):
            _, (final, _) = self.lstm(packed)
        return state.index_copy(0, spoken, torch.cat([final[0], final[1]], 1).to(state.dtype))
