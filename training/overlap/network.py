"""The network in PyTorch, and how it is trained."""

from __future__ import annotations

from typing import Final

import librosa
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from pipeline.overlap import BANDS, FLOOR, LONG, PARTIALS, SIZE, WINDOW
from pipeline.timeline import SAMPLE_RATE
from training.overlap.recipe import CLASSES, LAYERS, Recipe

MIDDLE, SPREAD = -5.0, 3.0  # of the features, about

_PARTIALS_AT: Final = np.arange(PARTIALS.start, PARTIALS.stop) * SAMPLE_RATE / LONG
_BANDS_AT: Final = librosa.mel_frequencies(n_mels=BANDS + 2, fmin=60, fmax=SAMPLE_RATE / 2)[1:-1]
OCTAVES: Final = torch.tensor(np.log2(np.concatenate([_PARTIALS_AT, _BANDS_AT, _BANDS_AT])), dtype=torch.float32)
"""Where each number of a frame lies, in octaves above 1 Hz."""


class Hearing(torch.nn.Module):
    """Features (batch, frames, SIZE) to the logits of how many speak: (batch, frames, CLASSES)."""

    def __init__(self, how: Recipe) -> None:
        super().__init__()
        self.project = torch.nn.Linear(SIZE, how.inputs)
        self.around = torch.nn.GRU(
            how.inputs, how.hidden, LAYERS, batch_first=True, bidirectional=True, dropout=how.dropout
        )
        self.decide = torch.nn.Linear(2 * how.hidden, CLASSES)
        self.dropout = torch.nn.Dropout(how.dropout)

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        """The logits."""
        sequence, _ = self.around(self.dropout(torch.relu(self.project((heard - MIDDLE) / SPREAD))))
        logits: torch.Tensor = self.decide(self.dropout(sequence))
        return logits


def train(heard: NDArray[np.float16], counts: NDArray[np.int64], seed: int, how: Recipe) -> Hearing:
    """A network trained on windows (n, WINDOW, SIZE) and how many speak in them, (n, WINDOW)."""
    torch.manual_seed(seed)
    chance = torch.Generator().manual_seed(seed)
    network = Hearing(how)
    optimiser = torch.optim.AdamW(network.parameters(), how.rate, weight_decay=how.decay)
    batches = len(heard) // how.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.rate, how.epochs * batches, pct_start=0.05)
    inputs, targets = torch.from_numpy(heard), torch.from_numpy(counts)
    for epoch in range(how.epochs):
        total = 0.0
        order = torch.randperm(len(heard), generator=chance)
        for batch in range(batches):
            rows = order[batch * how.batch : (batch + 1) * how.batch]
            first = int(torch.randint(0, WINDOW // 2, (), generator=chance)) if batch % 4 == 0 else 0
            logits = network(_elsewhere(inputs[rows, first:].float(), how, chance))
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[rows, first:].flatten())
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        typer.echo(f"epoch {epoch + 1} of {how.epochs}: loss {total / batches:.4f}")
    return network.eval()


def _elsewhere(heard: torch.Tensor, how: Recipe, chance: torch.Generator) -> torch.Tensor:
    """Features (batch, frames, SIZE) as through another channel, with some of their numbers hidden."""
    size = (len(heard), 4, 1)
    height = how.channel * torch.randn(size, generator=chance)
    ripples = 0.05 + 0.4 * torch.rand(size, generator=chance)  # an octave
    phase = torch.rand(size, generator=chance)
    heard = heard + (height * torch.cos(2 * torch.pi * (ripples * OCTAVES + phase))).sum(dim=1, keepdim=True)
    bands = SIZE - 2 * BANDS
    heard = heard - heard[..., bands:].exp().mean(dim=(1, 2), keepdim=True).log()
    heard = heard.clamp(min=FLOOR)
    width = int(torch.randint(0, how.masked, (), generator=chance))
    first = int(torch.randint(0, bands - width, (), generator=chance))
    heard[..., first : first + width] = MIDDLE
    width = int(torch.randint(0, how.masked // 2, (), generator=chance))
    first = int(torch.randint(bands, bands + BANDS - width, (), generator=chance))
    heard[..., first : first + width] = heard[..., first + BANDS : first + BANDS + width] = MIDDLE
    return heard
