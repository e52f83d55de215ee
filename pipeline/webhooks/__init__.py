"""Telling whoever uploaded a recording what has become of it, by an HTTP request to a URL of theirs.

What is told waits in `deliveries`, goes where `addresses` allows, as `sending` does it, and bears a signature
(`signing`) by which a receiver knows that it is ours.
"""

from pipeline.webhooks.addresses import Lookup, WebhookRefused, check_url, is_public, resolve
from pipeline.webhooks.deliveries import (
    DUE,
    LONGEST_LOG,
    LONGEST_WAIT,
    Attempted,
    Delivery,
    EventType,
    Outcome,
    Patience,
    State,
    WebhookStore,
    new_event,
)
from pipeline.webhooks.sending import Sender
from pipeline.webhooks.signing import signature, verify

__all__ = [
    "DUE",
    "LONGEST_LOG",
    "LONGEST_WAIT",
    "Attempted",
    "Delivery",
    "EventType",
    "Lookup",
    "Outcome",
    "Patience",
    "Sender",
    "State",
    "WebhookRefused",
    "WebhookStore",
    "check_url",
    "is_public",
    "new_event",
    "resolve",
    "signature",
    "verify",
]
