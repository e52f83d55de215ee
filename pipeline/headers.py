"""What browsers are told along with every answer, of the API and of the page alike (OWASP's REST and HTTP headers).

Strict-Transport-Security is not here: only what ends TLS knows that there is any, and says so.
"""

from __future__ import annotations

from typing import Final

NO_STORE: Final = "no-store"  # whatever may be cached is kept where nobody erases it
DEVICES: Final = "camera=(), display-capture=(), geolocation=(), hid=(), midi=(), payment=(), serial=(), usb=()"

# Of whatever is no page: nothing may be loaded or run should a browser show it, and nobody may frame it.
API: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": f"microphone=(), {DEVICES}",
}


def of_page(policy: str) -> dict[str, str]:
    """Of the page and its files: `policy` is what it may load, and the microphone is for itself alone."""
    return API | {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'self'",
        "Permissions-Policy": f"microphone=(self), {DEVICES}",
    }
