"""A Ray of our own, for one machine: nobody else's, and nothing in it that the service has no use for."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

OBJECT_STORE = 256 * 1024 * 1024  # bytes; handles carry small things, and Ray's default takes a third of the memory

# One thread a model call: the replicas share the cores, and threads that spin for each other take them away.
QUIET_WORKERS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.backpressure:in_proxy",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # its 0.1 takes a third of all that the service takes at rest
    "RAY_task_events_report_interval_ms": "0",  # nobody looks at the tasks that Ray would keep 100,000 of
    "RAY_worker_niceness": "0",  # Ray's 15 would leave no room below live work for what nobody waits for
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
}

# Of a Ray that serves and does nothing else, on a machine that may be small. A cluster's Ray may have other work.
LEAN_WORKERS = {
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "deployments.lean.leave_out",  # what a job's runtime_env would set
    "REPORTER_UPDATE_INTERVAL_MS": "15000",  # how often Ray's agent looks at every process: metrics are read as seldom
}

# Serve's proxy knows of tracing by these alone: `tracing_config` reaches replicas and nobody else (Ray 2.60).
TRACED_WORKERS = {
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "deployments.traces:span_processors",
    "RAY_SERVE_TRACING_SAMPLING_RATIO": "1.0",
    "OTEL_SERVICE_NAME": "tonetrack",
}


def alone() -> dict[str, str]:
    """What makes a Ray this machine's and this user's alone, for whoever reaches one may run code in it.

    It listens on the loopback, by Ray's switch for systems on which it has no clusters, and it answers whoever knows
    the token of this run. Both are needed: replicas listen everywhere all the same, and `_node_ip_address` means
    nothing on the loopback (Ray 2.60).
    """
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


@contextmanager
def own_ray(dashboard: bool, metrics_port: int) -> Iterator[None]:
    """A lean Ray from here to the end of the block; never a cluster that happens to be near."""
    import ray

    try:
        with _as_lean_as_started():
            ray.init(
                address="local",
                num_cpus=max(2, os.cpu_count() or 2),
                include_dashboard=dashboard,
                _metrics_export_port=metrics_port or None,
                object_store_memory=OBJECT_STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="tonetrack",
            )
        yield
    finally:
        ray.shutdown()


@contextmanager
def _as_lean_as_started() -> Iterator[None]:
    """Have `ray.init` leave out what scales clusters, and what reads workers' logs to a driver.

    `ray start` has switches for both, `--no-monitor` and `--include-log-monitor`; `ray.init` has none (Ray 2.60).
    """
    from ray._private import parameter

    ray_of: Any = parameter
    usual = ray_of.RayParams
    ray_of.RayParams = partial(usual, no_monitor=True, include_log_monitor=False)
    try:
        yield
    finally:
        ray_of.RayParams = usual
