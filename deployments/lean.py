"""Packages that a service's processes do without; each of Ray's workers asks, so this imports nothing to speak of."""

from __future__ import annotations

import sys
from typing import Any, Final

# What libraries import if it is there, each in its every process, for what the service never asks of them: Serve and
# Ray for tables as arguments (34 MB and 0.4 s), Keras for estimators, httpx for its command line.
LEFT_OUT: Final = ("pandas", "pyarrow", "sklearn", "httpx._main")


def leave_out() -> None:
    """Have this process take `LEFT_OUT` for not installed. What something has imported before stays."""
    absent: Any = None
    for name in LEFT_OUT:
        sys.modules.setdefault(name, absent)
