"""Files that were made to be hard to read are heard or refused in a sentence, soon, and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.media.undecodable import ADVICE
from tests.media.mutants import mutants
from tests.service import ROOT

MOST_SECONDS = 60  # for one file, on the slowest machine; a bomb is known for one after 5 minutes of sound
MOST_MEGABYTES = 96  # that the process may grow by

DECODE = """
import json, re, sys, time
from pathlib import Path
from pipeline.media import UndecodableAudio, decode, probe

def used():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

first = None
for path in map(Path, sys.argv[1:]):
    began, reason, said, heard = time.monotonic(), "", "", 0
    print(path.name, file=sys.stderr, flush=True)
    try:
        probe(path)
        for block in decode(path, 300):
            heard += len(block)
    except UndecodableAudio as error:
        reason, said = error.reason, str(error)
    first = first or used()
    told = {"name": path.name, "reason": reason, "said": said, "heard": heard / 16_000}
    print(json.dumps(told | {"seconds": time.monotonic() - began, "grown": used() - first}))
"""


def test_each_is_answered_soon_and_in_a_sentence(tmp_path: Path, note: Callable[[str, object], None]) -> None:
    """In a process of its own, which must still be there at the end."""
    files = []
    for name, data in mutants():
        (tmp_path / name).write_bytes(data)
        files.append(str(tmp_path / name))
    assert len(set(files)) >= 200
    ran = subprocess.run(
        [sys.executable, "-c", DECODE, *files], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-500:])
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(told) == len(files)
    refused = [one for one in told if one["reason"]]
    assert len(files) / 4 < len(refused) < len(files) * 3 / 4
    for one in refused:
        assert one["said"].startswith(one["name"]), one
        assert one["said"].endswith(ADVICE[one["reason"]]), one
        assert one["said"].isprintable(), one
    assert all(one["heard"] <= 310 for one in told)  # what one packet holds comes on top
    bombs = {one["name"]: one["reason"] for one in told if "bomb" in one["name"]}
    assert set(bombs.values()) == {"too_long"}, bombs
    slowest, grown = max(one["seconds"] for one in told), max(one["grown"] for one in told)
    note(f"s for the hardest of {len(files)} files to read", slowest)
    note("MB more for any of them", grown)
    assert slowest < MOST_SECONDS
    assert grown < MOST_MEGABYTES
