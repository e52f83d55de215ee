"""Clears the node it runs on before it goes: `python -m deployments.drain`, which Kubernetes calls before a pod ends.

Ray stops placing anything here, Serve starts the replicas elsewhere and has the proxy say that it is draining. Session
actors stay to the end; what they hold is in Redis, and they start again elsewhere.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import psutil

REPLICA = "ServeReplica:"  # begins the title of a replica's process
POLL_SECONDS = 1.0
ANSWER_SECONDS = 15


def main() -> None:
    """Drain this node; status 1 where it was not empty in time."""
    parser = argparse.ArgumentParser(description="Have this node cleared, and wait until no replica is left on it.")
    parser.add_argument("--seconds", type=float, default=120, help="how long it may take (default: %(default)s)")
    seconds: float = parser.parse_args().seconds
    deadline = time.monotonic() + seconds
    signal.signal(signal.SIGALRM, _nobody_answers)
    signal.alarm(ANSWER_SECONDS)
    address, node = _here()
    signal.alarm(0)
    ray = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", address, "--node-id", node]
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the node is asked to end"]
    subprocess.run([*ray, *why, "--deadline-remaining-seconds", str(round(seconds))], check=True)
    while left := _replicas():
        if time.monotonic() > deadline:
            sys.exit(f"still here after {seconds:.0f} s: {', '.join(sorted(left))}")
        time.sleep(POLL_SECONDS)


def _nobody_answers(*_: object) -> NoReturn:
    """The head is gone, as when a whole cluster ends after another took over: nothing can be moved."""
    sys.exit(f"no head answers within {ANSWER_SECONDS} s")


def _here() -> tuple[str, str]:
    """The address of the cluster's control store, and the id of this node."""
    import ray

    ray.init(address="auto", log_to_driver=False)
    context = ray.get_runtime_context()
    try:
        return context.gcs_address, context.get_node_id()
    finally:
        ray.shutdown()


def _replicas() -> set[str]:
    """Titles of the replicas' processes on this node."""
    titles = {" ".join(process.info["cmdline"] or []).strip() for process in psutil.process_iter(["cmdline"])}
    return {title for title in titles if REPLICA in title}


if __name__ == "__main__":
    main()
