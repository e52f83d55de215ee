"""What the microphone gives, at the rate that is sent."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_resampler_keeps_speech_and_drops_what_16_khz_cannot_hold(page: Page, rate: int) -> None:
    told = page.evaluate(
        """async (rate) => {
        const {Resampler} = await import("/resampler.js")
        const through = (hertz) => {
            const resampler = new Resampler(rate, 16000), out = []
            for (let block = 0; block < rate / 128; block++) {
                out.push(...resampler.push(Float32Array.from({length: 128}, (_, i) =>
                    Math.sin(2 * Math.PI * hertz * (block * 128 + i) / rate))))
            }
            const power = out.slice(400).reduce((sum, x) => sum + x * x, 0) / (out.length - 400)
            return {length: out.length, loud: Math.sqrt(power)}
        }
        return [through(300), through(3000), through(11000)]
    }""",
        rate,
    )
    low, middle, high = told
    assert abs(low["length"] - 16_000) < 200
    assert low["loud"] == pytest.approx(0.707, abs=0.01)
    assert middle["loud"] == pytest.approx(0.707, abs=0.01)
    assert high["loud"] < 0.003
