"""Other rooms, microphones and lines for a recording: what training varies, and what robustness is tested in.

Everything takes and gives float32 (n,), 16 kHz mono, and keeps its length and place in time, `at_speed` apart. All
chance comes from the generator that is handed in, so one seed gives one result. The signal processing is torchaudio's;
only the Opus codec is FFmpeg's, through PyAV, for torchaudio 2.11 has no codecs any more.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import av
import numpy as np
import scipy.fft
import torch
import torchaudio.functional as F
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.timeline import SAMPLE_RATE
from training.config import Augmentation

Audio = NDArray[np.float32]

REVERBERATION: Final = (0.15, 0.4)  # s for a room's echo to fall by 60 dB: from a furnished study to a meeting room
DIRECT_TO_REVERBERANT: Final = (2.0, 12.0)  # dB: from across a table to a headset
DETOUR: Final = 0.002  # s; the first reflection comes some 70 cm of detour after the direct sound

SLOPE: Final = (-6.0, 0.0)  # dB an octave: from brown noise, like traffic behind a window, to white, like hiss
RUMBLE: Final = 50.0  # Hz below which noise rises no more: microphones hardly hear it
SWELLING: Final = 0.3  # of all noise comes and goes; the rest is as steady as a fan
SWELL: Final = 6.0  # dB up and down
SWELL_EVERY: Final = 0.5  # s from one level to the next
HUMMING: Final = 0.2  # of all noise has the mains in it
HUM: Final = (-12.0, 0.0)  # dB of the hum over the rest of the noise
OVERTONES: Final = 8  # of the mains, the first included

TILT: Final = 6.0  # dB up or down above TILT_FROM: another microphone, or another angle to it
TILT_FROM: Final = 1000.0  # Hz
PEAK: Final = 6.0  # dB up or down: a resonance of the case, a hand in the way
PEAKS_BETWEEN: Final = (200.0, 6000.0)  # Hz
UPPER_CUT: Final = (3400.0, 7000.0)  # Hz: from the telephone's to that of a thrifty codec
LOWER_CUT: Final = (100.0, 300.0)  # Hz: from a microphone's switch against rumble to the telephone's
TELEPHONE_BAND: Final = (300.0, 3400.0)  # Hz; ITU-T G.712
TELEPHONE_RATE: Final = 8000  # Hz
FOURTH_ORDER: Final = (0.541, 1.307)  # Q of the two biquads that make a Butterworth filter of order 4


def at_speed(audio: Audio, speed: float) -> Audio:
    """The audio played `speed` times as fast, to a hundredth: (n / speed,), its pitch raised by as much."""
    # Not F.speed, which cuts the rate's fraction off where it should round.
    return _on_tensors(lambda heard: F.resample(heard, round(100 * speed), 100), audio)


def in_room(audio: Audio, rng: Generator) -> Audio:
    """The audio as heard across a small room: an exponentially decaying tail of noise after the direct sound.

    A statistical room, as in Polack's model; no image sources. The direct sound keeps its place and level.
    """
    seconds = rng.uniform(*REVERBERATION)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail[: round(DETOUR * SAMPLE_RATE)] = 0
    tail *= 10 ** (-rng.uniform(*DIRECT_TO_REVERBERANT) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    samples = len(audio) + len(tail) - 1
    # F.fftconvolve transforms exactly that many samples, which for an unlucky number takes ten times as long.
    padded = np.pad(tail, (0, _quick_size(samples) - samples)).astype(np.float32)
    return _on_tensors(F.fftconvolve, audio, padded)[: len(audio)]


def noise(samples: int, rng: Generator) -> Audio:
    """Noise as rooms and streets have it: float32 (samples,) with an RMS of 1.

    Its spectrum falls by a random SLOPE; some of it swells slowly, some hums with the mains.
    """
    size = _quick_size(samples)
    octaves = np.log2(np.maximum(scipy.fft.rfftfreq(size, 1 / SAMPLE_RATE), RUMBLE) / RUMBLE)
    spectrum = scipy.fft.rfft(rng.standard_normal(size, np.float32))
    made = scipy.fft.irfft(spectrum * _gain(rng.uniform(*SLOPE) * octaves), size)[:samples]
    seconds = np.arange(samples) / SAMPLE_RATE
    if rng.random() < SWELLING:
        knots = np.arange(0, samples / SAMPLE_RATE + SWELL_EVERY, SWELL_EVERY)
        made = made * _gain(np.interp(seconds, knots, rng.uniform(-SWELL, SWELL, len(knots))))
    if rng.random() < HUMMING:
        made = made / _rms(made) + _gain(rng.uniform(*HUM)) * _hum(seconds, rng)
    return np.asarray(made / _rms(made), np.float32)


def over_noise(audio: Audio, decibels: float, rng: Generator) -> Audio:
    """The audio with `noise` added whose power, over all of it, is `decibels` below the audio's own."""
    return _on_tensors(F.add_noise, audio, noise(len(audio), rng), np.array(decibels, np.float32))


def equalised(audio: Audio, rng: Generator) -> Audio:
    """The audio through another microphone: brighter or duller, with one or two broad peaks or dips."""
    tilt = rng.uniform(-TILT, TILT)
    filters = [_biquad(F.treble_biquad, tilt, TILT_FROM, 0.5)]
    for _ in range(rng.integers(1, 3)):
        centre = np.exp(rng.uniform(*np.log(PEAKS_BETWEEN)))
        filters.append(_biquad(F.equalizer_biquad, centre, rng.uniform(-PEAK, PEAK), rng.uniform(0.7, 2.0)))
    return _filtered(audio, *filters)


def band_limited(audio: Audio, rng: Generator) -> Audio:
    """The audio with nothing above a random UPPER_CUT and, half the time, nothing below a random LOWER_CUT."""
    cut = rng.uniform(*UPPER_CUT)
    filters = [_biquad(F.lowpass_biquad, cut, quality) for quality in FOURTH_ORDER]
    if rng.random() < 0.5:
        filters.append(_biquad(F.highpass_biquad, rng.uniform(*LOWER_CUT)))
    return _filtered(audio, *filters)


def through_telephone(audio: Audio) -> Audio:
    """The audio over a telephone line: TELEPHONE_BAND only, 8 kHz, eight bits by the mu-law (ITU-T G.711).

    Audio beyond full scale is first brought down to it.
    """

    def line(heard: torch.Tensor) -> Any:  # torchaudio is not typed
        # So wide a filter falls within 200 Hz of the band's edge, as G.712 asks: no low-pass is needed besides.
        edge = {"lowpass_filter_width": 64, "rolloff": 2 * TELEPHONE_BAND[1] / TELEPHONE_RATE}
        narrow = F.resample(heard, SAMPLE_RATE, TELEPHONE_RATE, **edge)
        for quality in FOURTH_ORDER:
            narrow = F.highpass_biquad(narrow, TELEPHONE_RATE, TELEPHONE_BAND[0], quality)
        coded = F.mu_law_decoding(F.mu_law_encoding(narrow.clamp(-1, 1), 256), 256)
        return F.resample(coded, TELEPHONE_RATE, SAMPLE_RATE, **edge)

    return _on_tensors(line, _unclipped(audio))[: len(audio)]


def through_opus(audio: Audio, bitrate: int) -> Audio:
    """The audio encoded with Opus (RFC 6716) at `bitrate`, bit/s, as a browser's recorder does it, and decoded.

    Audio beyond full scale is first brought down to it.
    """
    # In Ogg, and not as bare packets: the container tells the decoder the encoder's delay, and where the sound ends.
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="ogg") as container:
        options = {"compression_level": "5"}  # half the effort: 14 ms for 2.5 s in place of 33, and hardly worse
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono", options=options)
        stream.bit_rate = bitrate
        stream.format = "flt"
        frame = av.AudioFrame.from_ndarray(_unclipped(audio)[None], format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    encoded.seek(0)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    with av.open(encoded, "r") as recording:
        frames = [piece for frame in recording.decode(audio=0) for piece in resampler.resample(frame)]
    frames += resampler.resample(None)
    decoded = np.concatenate([piece.to_ndarray()[0] for piece in frames])[: len(audio)]
    return np.pad(decoded, (0, len(audio) - len(decoded)))


def overdriven(audio: Audio, decibels: float) -> Audio:
    """The audio with a gain that brings its peak `decibels` above 1, where it is cut off."""
    louder = _on_tensors(lambda heard: F.gain(heard, decibels), audio / np.float32(max(1e-6, np.abs(audio).max())))
    return np.clip(louder, -1, 1)


def varied(audio: Audio, how: Augmentation, rng: Generator) -> Audio:
    """The audio as it might have been recorded elsewhere, of another length where the tempo is another.

    Every step draws from a generator of its own, so that generators of one seed put clips of any length into one
    place: the same room, as much noise, the same microphone and line.
    """
    tempo, room, noise, equaliser, band, line, level = rng.spawn(7)
    speed = float(tempo.choice(how.speeds))
    if speed != 1:
        audio = at_speed(audio, speed)
    if room.random() < how.room:
        audio = in_room(audio, room)
    if noise.random() < how.noise:
        audio = over_noise(audio, noise.uniform(*how.noise_ratio), noise)
    if equaliser.random() < how.equaliser:
        audio = equalised(audio, equaliser)
    if band.random() < how.band:
        audio = band_limited(audio, band)
    way = line.random()
    if way < how.opus:
        audio = through_opus(audio, int(line.choice(how.opus_bitrates)))
    elif way < how.opus + how.telephone:
        audio = through_telephone(audio)
    if level.random() < how.overdriven:
        return overdriven(audio, level.uniform(*how.overdrive))
    return _unclipped(audio)


CONDITIONS: Final[dict[str, Callable[[Audio, Generator], Audio]]] = {
    "noise, 10 dB": lambda audio, rng: over_noise(audio, 10.0, rng),
    "room": in_room,
    "Opus, 24 kbit/s": lambda audio, rng: through_opus(audio, 24_000),
    "telephone, 8 kHz": lambda audio, rng: through_telephone(audio),
}
"""What a model is tested in besides clean speech, by name: each one thing at a time."""


def _on_tensors(process: Callable[..., torch.Tensor], *arrays: Audio) -> Audio:
    """What a function of tensors makes of arrays."""
    with torch.inference_mode():
        made: Audio = process(*(torch.tensor(array, dtype=torch.float32) for array in arrays)).numpy()
    return made


def _biquad(design: Callable[..., torch.Tensor], *settings: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda heard: design(heard, SAMPLE_RATE, *settings)


def _filtered(audio: Audio, *filters: Callable[[torch.Tensor], torch.Tensor]) -> Audio:
    """The audio through filters, one after another."""
    # torchaudio clamps what comes out of a biquad to [-1, 1]; far below that, no filter here gets there.
    scale = np.float32(64 * max(1e-6, np.abs(audio).max()))

    def chain(heard: torch.Tensor) -> torch.Tensor:
        for apply in filters:
            heard = apply(heard)
        return heard

    return _on_tensors(chain, audio / scale) * scale


def _hum(seconds: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """The mains, 50 or 60 Hz, and its overtones, each weaker than the one before: an RMS of 1."""
    orders = np.arange(1, OVERTONES + 1)[:, None]
    phases = rng.uniform(0, 2 * np.pi, orders.shape)
    hum = np.sum(np.sin(2 * np.pi * rng.choice((50, 60)) * orders * seconds + phases) / orders, axis=0)
    return np.asarray(hum / _rms(hum))


def _unclipped(audio: Audio) -> Audio:
    """The audio, its peak brought to 1 where it would be above."""
    return audio / np.float32(max(1.0, np.abs(audio).max()))


def _quick_size(samples: int) -> int:
    """The least number from `samples` on that a Fourier transform is quick with."""
    return int(scipy.fft.next_fast_len(samples, real=True))


def _rms(audio: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))


def _gain(decibels: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 ** (np.asarray(decibels) / 20))
