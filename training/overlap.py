"""Train the network that hears when two people speak at once, and write it as the ONNX graph that the service runs.

    python -m training.overlap OUTPUT LIBRISPEECH RAVDESS

Talk is put together from recordings of single speakers, far more entangled than it usually is, in rooms from small
to much too live, over noise, knocks and poor lines. Who speaks when is known from the recordings themselves, before
any room: an echo is nobody speaking. With `--held-out`, named speakers stay out of training and the figures on talk
among them are printed. One seed gives one network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import librosa
import numpy as np
import onnx
import torch
import typer
from numpy.random import Generator
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import binary_closing, binary_opening
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt
from sklearn.metrics import average_precision_score

from pipeline.overlap import BANDS, FLOOR, FRAME, LONG, PARTIALS, SIZE, WINDOW, OverlapDetector, features
from pipeline.timeline import SAMPLE_RATE
from training.augment import band_limited, equalised, noise, over_noise, through_telephone
from training.simulate import read_recordings
from training.sound import speech

Audio = NDArray[np.float32]

STEP: Final = SAMPLE_RATE // 100  # samples between two steps of what a speaker does: 10 ms
CLASSES: Final = 3  # nobody, one, two or more
LAYERS: Final = 2  # of the network
MIDDLE, SPREAD = -5.0, 3.0  # of the features, about

_PARTIALS_AT: Final = np.arange(PARTIALS.start, PARTIALS.stop) * SAMPLE_RATE / LONG
_BANDS_AT: Final = librosa.mel_frequencies(n_mels=BANDS + 2, fmin=60, fmax=SAMPLE_RATE / 2)[1:-1]
OCTAVES: Final = torch.tensor(np.log2(np.concatenate([_PARTIALS_AT, _BANDS_AT, _BANDS_AT])), dtype=torch.float32)
"""Where each number of a frame lies, in octaves above 1 Hz."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that was chosen. A pair of numbers is a range to draw from, evenly."""

    # the talk
    seconds: float = 19.8  # of one scene: seven windows
    scenes: int = 2800  # 15 h; what the network sees again is in another channel each time
    speakers: tuple[float, ...] = (0.1, 0.35, 0.3, 0.25)  # chances that one, two, three, four people are in a scene
    actors: float = 0.35  # of the voices come from RAVDESS: shouts and whispers, but only two sentences
    turn: tuple[float, float] = (0.4, 6.0)  # s, evenly on a scale of ratios: half of all turns in meetings are short
    overlaps: float = 0.65  # turns that begin before the one before them ends: overlap in a quarter of the speech
    overlap: tuple[float, float] = (0.2, 3.0)  # s by which they do
    gap: tuple[float, float] = (0.0, 0.8)  # s between the other turns
    aside: float = 0.3  # turns during which somebody else says something short
    gain: tuple[float, float] = (-5.0, 5.0)  # dB a speaker: two may be 10 dB apart
    speeds: tuple[int, ...] = (85, 90, 95, 100, 100, 105, 110, 117)  # % of a voice's own: new larynxes, new tracts
    # the place
    reverberation: tuple[float, float] = (0.15, 0.9)  # s to fall by 60 dB; beyond meeting rooms, into halls
    direct: tuple[float, float] = (-8.0, 14.0)  # dB of the direct sound over the echo: far across a room to a headset
    apart: float = 4.0  # dB up or down from that for each speaker: some sit farther away
    dry: float = 0.1  # scenes without any room
    noise: tuple[float, float] = (5.0, 30.0)  # dB below the talk
    silent: float = 0.05  # scenes without any noise: pauses are digital silence
    nobody: float = 0.03  # windows more, with nothing but noise in them, and knocks in a third of those
    knocks: float = 0.4  # scenes with knocks, clicks and rustling, which are nobody
    telephone: float = 0.1  # scenes over a telephone line
    equalised: float = 0.4  # scenes through another microphone
    narrow: float = 0.2  # of the other scenes lack the treble, and some the bass
    # the labels
    range: float = 28.0  # dB below a recording's loudest in which it is speech; softer is lost in most rooms
    closure: float = 0.12  # s; shorter pauses are the closures of ordinary consonants
    click: float = 0.05  # s; shorter sounds are no speech
    # the network
    inputs: int = 96  # numbers that a frame comes down to
    hidden: int = 64  # either way, in each of two layers: 0.6 ms of CPU for a window
    dropout: float = 0.2  # around the layers
    # the training
    epochs: int = 5  # through all windows; the loss was still falling
    batch: int = 32  # as training is short, many small steps
    rate: float = 2e-3  # at most: it rises for a twentieth of the time, then falls
    decay: float = 1e-2  # of weights, as in AdamW
    channel: float = 0.35  # ln of power: deviation of each of four ripples of the channel, drawn anew every time
    masked: int = 24  # numbers of a frame, at most, that are hidden at a time


ORDINARY: Final = Recipe()
LESS_ENTANGLED: Final[dict[str, Any]] = {"overlaps": 0.3, "aside": 0.1, "overlap": (0.2, 1.5)}
"""What a test differs in, so that thresholds are chosen where overlap is rarer than in training: 7 % of all frames."""
TESTED: Final = 50  # scenes of a test: 16 minutes


class Clip(NamedTuple):
    """One recording: float32 (n,) whose speech has an RMS of 1, and whether it is speech, a value each STEP."""

    audio: Audio
    spoken: NDArray[np.bool_]


Voices = Mapping[str, Sequence[Clip]]


def read_voices(folder: Path, how: Recipe) -> dict[str, list[Clip]]:
    """All clips under a folder, by speaker."""
    return {
        speaker: [clip for one in recordings if (clip := _clip(speech(one.path, margin=0.1), how)) is not None]
        for speaker, recordings in read_recordings(folder).items()
    }


def _clip(audio: Audio, how: Recipe) -> Clip | None:
    """A recording with its speech marked, or None where there is none."""
    steps = len(audio) // STEP
    power = np.array([np.mean(audio[max(0, i * STEP - STEP) : (i + 2) * STEP] ** 2) for i in range(steps)])
    loud = power > np.quantile(power, 0.97) * 10 ** (-how.range / 10)
    spoken = binary_closing(np.pad(loud, 50), np.ones(round(how.closure * 100)))[50:-50]
    spoken = binary_opening(spoken, np.ones(round(how.click * 100)))
    if not spoken.any():
        return None
    return Clip(audio / np.float32(np.sqrt(power[spoken].mean())), spoken)


def scene(corpora: Sequence[Voices], seed: tuple[int, ...], how: Recipe) -> tuple[Audio, NDArray[np.int64]]:
    """Some talk as a microphone hears it: float32 (n,), and how many speak, two at most, in each frame: (frames,)."""
    rng = np.random.default_rng(seed)
    samples = round(how.seconds * SAMPLE_RATE)
    count = 1 + rng.choice(len(how.speakers), p=how.speakers)
    tracks = np.zeros((count, samples), np.float32)
    spoken = np.zeros((count, samples // STEP), bool)
    chosen: list[Sequence[Clip]] = []
    for _ in range(count):
        voices = corpora[1] if rng.random() < how.actors else corpora[0]
        chosen.append(voices[str(rng.choice(list(voices)))])
    speeds = rng.choice(how.speeds, count)

    def say(speaker: int, start: float, seconds: float) -> float:
        """Let a speaker say something of about this length; returns when it ends."""
        clip = _at_speed(_excerpt(chosen[speaker], seconds, rng), int(speeds[speaker]))
        first = round(start * 100)
        steps = min(len(clip.spoken), spoken.shape[1] - first)
        if steps > 0 and not spoken[speaker, first : first + steps].any():  # nobody talks over themselves
            tracks[speaker, first * STEP : (first + steps) * STEP] += clip.audio[: steps * STEP]
            spoken[speaker, first : first + steps] = clip.spoken[:steps]
        return start + len(clip.spoken) / 100

    last, start, end = 0, 0.0, rng.uniform(0, 1.5)
    while end < how.seconds:
        speaker = (last + int(rng.integers(1, max(2, count)))) % count
        if speaker != last and rng.random() < how.overlaps:
            start = max(start, end - rng.uniform(*how.overlap), 0.0)
        else:
            start = end + rng.uniform(*how.gap)
        end = max(end, say(speaker, start, float(np.exp(rng.uniform(*np.log(how.turn))))))
        if count > 1 and rng.random() < how.aside:
            somebody = (speaker + int(rng.integers(1, count))) % count
            say(somebody, rng.uniform(start, end), rng.uniform(0.25, 1.0))
        last = speaker
    heard = _in_place(tracks, spoken, how, rng)
    counts = np.sum([_in_frames(one) for one in spoken], axis=0, dtype=np.int64)
    return heard, np.minimum(counts, CLASSES - 1)


def _excerpt(clips: Sequence[Clip], seconds: float, rng: Generator) -> Clip:
    """About `seconds` of one of the clips, from pause to pause where there is one."""
    clip = clips[int(rng.integers(len(clips)))]
    steps = min(round(seconds * 100), len(clip.spoken))
    first = int(rng.integers(len(clip.spoken) - steps + 1))
    first = _quietest(clip.audio, first)
    last = _quietest(clip.audio, first + steps)
    audio = clip.audio[first * STEP : last * STEP].copy()
    ramp = np.minimum(1, np.arange(len(audio), dtype=np.float32) / 160)
    return Clip(audio * ramp * ramp[::-1] * np.float32(10 ** (rng.uniform(-2, 2) / 20)), clip.spoken[first:last])


def _quietest(audio: Audio, step: int) -> int:
    """The step near this one, at most 150 ms away, where it is quietest; both ends of a clip are quiet."""
    first, last = max(0, step - 15), min(len(audio) // STEP, step + 15)
    if first == 0 or last == len(audio) // STEP:
        return 0 if first == 0 else last
    power = (audio[first * STEP : last * STEP] ** 2).reshape(-1, STEP).mean(axis=1)
    return first + int(np.convolve(power, np.ones(5), "same").argmin())


def _at_speed(clip: Clip, percent: int) -> Clip:
    """The clip played that much faster, its pitch raised by as much."""
    if percent == 100:
        return clip
    audio = np.asarray(resample_poly(clip.audio, 100, percent), np.float32)
    steps = len(audio) // STEP
    return Clip(audio, clip.spoken[np.minimum(np.arange(steps) * percent // 100, len(clip.spoken) - 1)])


def _in_frames(spoken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Values each STEP to values each FRAME: whether it holds for the larger part of it."""
    frames = len(spoken) * STEP // FRAME
    share = np.concatenate([[0.0], np.cumsum(spoken)])
    edges = np.interp(np.arange(frames + 1) * FRAME / STEP, np.arange(len(share)), share)
    return np.asarray(np.diff(edges) >= 0.5 * FRAME / STEP)


def _in_place(tracks: Audio, spoken: NDArray[np.bool_], how: Recipe, rng: Generator) -> Audio:
    """What one microphone makes of speakers (speakers, n) who speak in some of the steps (speakers, n / STEP): (n,)."""
    samples = tracks.shape[1]
    if rng.random() >= how.dry:
        seconds, direct = rng.uniform(*how.reverberation), rng.uniform(*how.direct)
        echoes = [_echo(seconds, direct + rng.uniform(-how.apart, how.apart), rng) for _ in tracks]
        tracks = np.stack([fftconvolve(one, echo)[:samples] for one, echo in zip(tracks, echoes, strict=True)])
    power = np.sum(tracks**2, axis=1) / np.maximum(STEP * np.sum(spoken, axis=1), 1)
    gains = 10 ** (rng.uniform(*how.gain, len(tracks)) / 20) / np.sqrt(np.maximum(power, 1e-6))
    mix = np.asarray(gains @ tracks, np.float32)
    mix *= np.float32(10 ** (rng.uniform(-40, -20) / 20))
    if rng.random() < how.knocks:
        mix += _knocks(samples, rng) * np.float32(np.sqrt(np.mean(mix**2)))
    if rng.random() >= how.silent:
        mix = over_noise(mix, rng.uniform(*how.noise), rng)
    if rng.random() < how.equalised:
        mix = equalised(mix, rng)
    if rng.random() < how.telephone:
        mix = through_telephone(mix)
    elif rng.random() < how.narrow:
        mix = band_limited(mix, rng)
    return mix


def _echo(seconds: float, direct: float, rng: Generator) -> Audio:
    """A room's answer to a click: the direct sound, a few reflections, and an echo whose treble dies first.

    seconds: until the bass has fallen by 60 dB. direct: dB of the direct sound over all the rest.
    """
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    dull = sosfilt(butter(1, rng.uniform(800, 3000), fs=SAMPLE_RATE, output="sos"), rng.standard_normal(len(time)))
    bright = rng.standard_normal(len(time)) * 10 ** (-3 * time / (seconds * rng.uniform(0.3, 0.8)))
    tail = 2 * dull * 10 ** (-3 * time / seconds) + bright
    for _ in range(rng.integers(3, 12)):
        delay = rng.uniform(0.002, 0.04)
        tail[min(len(tail) - 1, round(delay * SAMPLE_RATE))] += (
            rng.choice((-1, 1)) * 30 * rng.random() * 10 ** (-20 * delay)
        )
    tail[: round(rng.uniform(0.001, 0.006) * SAMPLE_RATE)] = 0
    tail *= 10 ** (-direct / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(tail, np.float32)


def _knocks(samples: int, rng: Generator) -> Audio:
    """Short noises that no mouth makes, some louder than the talk: float32 (samples,)."""
    made = np.zeros(samples, np.float32)
    for _ in range(rng.integers(2, 16)):
        fall = np.exp(rng.uniform(*np.log((0.003, 0.15))))  # s to 1/e
        size = round(5 * fall * SAMPLE_RATE)
        sound = noise(size + 64, rng)[:size] * np.exp(-np.arange(size) / (fall * SAMPLE_RATE))
        if rng.random() < 0.5:
            centre = np.exp(rng.uniform(*np.log((150, 4000))))
            band = butter(1, (centre / 1.3, centre * 1.3), "bandpass", fs=SAMPLE_RATE, output="sos")
            sound = 3 * sosfilt(band, sound)
        first = int(rng.integers(samples))
        made[first : first + size] += (sound * 10 ** (rng.uniform(-10, 15) / 20))[: samples - first]
    return made


def examples(
    corpora: Sequence[Voices], scenes: int, seed: int, how: Recipe
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Windows of scenes and of noise: features (windows, WINDOW, SIZE), and how many speak, (windows, WINDOW)."""
    heard, counts = [], []
    for number in range(scenes):
        audio, count = scene(corpora, (seed, number), how)
        for first in range(0, len(count) - WINDOW + 1, WINDOW):
            heard.append(features(audio[first * FRAME : (first + WINDOW) * FRAME]).astype(np.float16))
            counts.append(count[first : first + WINDOW])
    rng = np.random.default_rng((seed, scenes))
    for number in range(round(how.nobody * len(heard))):
        audio = noise(WINDOW * FRAME, rng)
        if number % 3 == 0:
            audio += 2 * _knocks(len(audio), rng)
        heard.append(features(audio * np.float32(10 ** (rng.uniform(-70, -30) / 20))).astype(np.float16))
        counts.append(np.zeros(WINDOW, np.int64))
    return np.stack(heard), np.stack(counts)


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


def graph(network: Hearing, how: Recipe) -> onnx.ModelProto:
    """The ONNX graph: features (batch, frames, SIZE) in, probabilities (batch, frames, CLASSES) out.

    Weights are half precision on disk and single precision in use.
    """
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[np.float32]) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float16), name + "_half"))
        nodes.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
        return name

    def shape(name: str, *sizes: int) -> str:
        constants.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        return name

    def gates(kind: str, layer: int) -> NDArray[np.float32]:
        """Of both directions, from torch's order of gates, reset-update-new, to ONNX's, update-reset-new."""
        both = [np.split(state[f"around.{kind}_l{layer}{way}"], 3) for way in ("", "_reverse")]
        return np.stack([np.concatenate([update, reset, new]) for reset, update, new in both])

    weights = state["project.weight"].T / SPREAD
    bias = state["project.bias"] - MIDDLE * weights.sum(axis=0)
    nodes += [
        helper.make_node("MatMul", ["features", constant("project", weights)], ["projected"]),
        helper.make_node("Add", ["projected", constant("project_bias", bias)], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["positive"]),
        helper.make_node("Transpose", ["positive"], ["sequence"], perm=[1, 0, 2]),  # frames first
    ]
    sequence = "sequence"
    for layer in range(LAYERS):
        w, r = constant(f"w{layer}", gates("weight_ih", layer)), constant(f"r{layer}", gates("weight_hh", layer))
        b = constant(f"b{layer}", np.concatenate([gates("bias_ih", layer), gates("bias_hh", layer)], axis=1))
        nodes += [
            helper.make_node(
                "GRU",
                [sequence, w, r, b],
                [f"ways{layer}"],
                hidden_size=how.hidden,
                direction="bidirectional",
                linear_before_reset=1,
            ),
            helper.make_node("Transpose", [f"ways{layer}"], [f"frames{layer}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"frames{layer}", shape(f"flat{layer}", 0, 0, -1)], [f"both{layer}"]),
        ]
        sequence = f"both{layer}"
    nodes += [
        helper.make_node("MatMul", [sequence, constant("decide", state["decide.weight"].T)], ["decided"]),
        helper.make_node("Add", ["decided", constant("decide_bias", state["decide.bias"])], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=2),
        helper.make_node("Transpose", ["probabilities"], ["counts"], perm=[1, 0, 2]),
    ]
    made = helper.make_graph(
        nodes,
        "overlap",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", SIZE])],
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["batch", "frames", CLASSES])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def main(
    output: Annotated[Path, typer.Argument(help="Where the ONNX file goes.")],
    librispeech: Annotated[Path, typer.Argument(help="Readers: a folder of recordings, SPEAKER-CHAPTER-UTTERANCE.")],
    ravdess: Annotated[Path, typer.Argument(help="Actors: a folder of folders, Actor_NN.")],
    held_out: Annotated[str, typer.Option(help="Speakers to test with, not to train with: names with commas.")] = "",
    seed: Annotated[int, typer.Option(help="One seed, one network.")] = 1,
) -> None:
    """Train the overlap detector and write it as ONNX."""
    torch.set_num_threads(1)  # and one network whatever the number of cores
    how, kept = ORDINARY, [name for name in held_out.split(",") if name]
    corpora = [read_voices(folder, how) for folder in (librispeech, ravdess)]
    known = [{name: clips for name, clips in voices.items() if name not in kept} for voices in corpora]
    heard, counts = examples(known, how.scenes, seed, how)
    typer.echo(f"{len(heard)} windows; nobody, one, more: {np.bincount(counts.ravel()) / counts.size}")
    network = train(heard, counts, seed, how)
    output.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph(network, how), output)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
    if kept:
        others = [{name: clips for name, clips in voices.items() if name in kept} for voices in corpora]
        typer.echo(figures(OverlapDetector(output), others, seed + 1, replace(how, **LESS_ENTANGLED)))


def figures(detector: OverlapDetector, corpora: Sequence[Voices], seed: int, how: Recipe) -> str:
    """How well overlap is heard in TESTED scenes of these speakers: average precision, and each threshold's figures."""
    scores, overlaps = [], []
    for number in range(TESTED):
        audio, counts = scene(corpora, (seed, number), how)
        windows = [audio[first : first + WINDOW * FRAME] for first in range(0, len(audio), WINDOW * FRAME)]
        scores.append(np.concatenate(detector.hear(windows)))
        overlaps.append(counts[: len(scores[-1])] == CLASSES - 1)
    score, overlap = np.concatenate(scores), np.concatenate(overlaps)
    average = average_precision_score(overlap, score)
    lines = [f"overlap in {overlap.mean():.3f} of the frames; average precision {average:.3f}"]
    for threshold in np.arange(0.1, 1.0, 0.1):
        right = np.sum((score >= threshold) & overlap)
        precision, recall = right / max(1, np.sum(score >= threshold)), right / max(1, np.sum(overlap))
        lines.append(f"from {threshold:.1f}: precision {precision:.3f}, recall {recall:.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
