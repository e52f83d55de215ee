"""The same models in one plain process, without a service: what hearing costs when nothing is in its way.

Live, several conversations go on in lockstep, so that a batch is as large as the service's own; a recording is heard by
the engine of `tonetrack analyse`. Each runs in a fresh process with one thread a model, as the replicas have.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployments.own_ray import QUIET_WORKERS
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE
from tests.service import Pcm

BATCH = 16  # hops in a call, as many as a session actor's call to the recogniser has at most; 4 to the diariser
PATIENCE = 3_600.0  # s

Answer = dict[str, Any]


class Stopwatch:
    """Seconds of CPU of this process, by stage."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what the block takes."""
        start = time.process_time()
        yield
        self.taken[stage] += time.process_time() - start


def live(talks: list[Pcm], warm: float = 4.0, batch: int = BATCH) -> Answer:
    """Hear conversations, int16 (n,) each, in lockstep: CPU by stage, hops and fragments, without the first seconds.

    `warm`: seconds of each conversation that are heard first and not counted. `batch`: hops in a call.
    """
    from pipeline.conversation import HOP, Conversation
    from pipeline.diarisation.local import LocalDiariser
    from pipeline.emotion import EmotionHead, EmotionModel

    diariser, model, head = LocalDiariser(), EmotionModel.load(), EmotionHead.load()
    diariser.warm_up()
    model.warm_up()
    conversations = [Conversation(head) for _ in talks]
    watch, fragments_read, hops = Stopwatch(), 0, 0
    for start in range(0, min(map(len, talks)) - HOP + 1, HOP):
        if start == round(warm * SAMPLE_RATE / HOP) * HOP:
            watch, fragments_read, hops = Stopwatch(), 0, 0
        for first in range(0, len(talks), batch):
            mine = conversations[first : first + batch]
            with watch("conversation"):
                heard = [
                    hop
                    for conversation, pcm in zip(mine, talks[first : first + batch], strict=True)
                    for hop in conversation.hear(pcm[start : start + HOP], time.time())
                ]
                stretches = [conversation.stretch(hop) for conversation, hop in zip(mine, heard, strict=True)]
            with watch("diariser"):
                observations = diariser.observe(stretches)
            with watch("conversation"):
                told = [
                    conversation.align(observation)
                    for conversation, observation in zip(mine, observations, strict=True)
                ]
                sounds = [
                    conversation.audio(fragment)
                    for conversation, fragments in zip(mine, told, strict=True)
                    for fragment in fragments
                ]
            with watch("emotion model"):
                embeddings = iter(model.embed(sounds) if sounds else [])
            with watch("conversation"):
                for conversation, hop, fragments in zip(mine, heard, told, strict=True):
                    conversation.conclude(hop, fragments, [next(embeddings) for _ in fragments])
            fragments_read += len(sounds)
            hops += len(mine)
    cpu = sum(watch.taken.values())
    return {
        "batch": batch,
        "cpu": cpu,
        "stages": dict(watch.taken),
        "seconds": hops * HOP_SECONDS,
        "fragments": fragments_read,
    }


def recording(path: str) -> Answer:
    """Hear a file from end to end: seconds of wall and of CPU, and how many readings it has."""
    from pipeline.audio import decode
    from pipeline.diarisation.local import LocalDiariser
    from pipeline.emotion import EmotionHead, EmotionModel
    from pipeline.recording import hear
    from pipeline.segments import ears_here
    from pipeline.sound import Sound

    diariser, model, head = LocalDiariser(), EmotionModel.load(), EmotionHead.load()
    diariser.warm_up()
    model.warm_up()
    wall, cpu = time.perf_counter(), time.process_time()
    with Sound(decode(Path(path))) as sound:
        timeline = hear(sound, ears_here(diariser, model), head)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "readings": len(timeline.readings),
    }


@contextmanager
def environment(added: dict[str, str]) -> Iterator[None]:
    """Some variables for whatever is started in the block."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def apart(work: Callable[..., Answer], *arguments: object) -> Answer:
    """What `work` answers in a fresh process. Raises `RuntimeError` with what went wrong there."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, arguments))
    with environment(QUIET_WORKERS):  # before it imports anything: libraries look at it once
        process.start()
    sender.close()
    try:
        outcome: Answer | str = receiver.recv() if receiver.poll(PATIENCE) else f"no answer in {PATIENCE:.0f} s"
    except EOFError:
        outcome = ""
    process.join(10)
    if isinstance(outcome, str):
        process.kill()
        told = outcome or f"it ended with status {process.exitcode} and no answer"
        raise RuntimeError(f"{work.__name__} failed in a process of its own: {told}")
    return outcome


def _answer(sender: Any, work: Callable[..., Answer], arguments: tuple[object, ...]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow says there that it finds no GPU; errors go to `sender`
    try:
        sender.send(work(*arguments))
    except Exception as error:
        first, *_ = str(error).splitlines() or [""]  # what comes after it may be whole tensors
        sender.send(f"{type(error).__name__}: {first}")
