"""What a report and an export say of a recording besides what was heard in it."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.exports import Declared
from pipeline.job import Job
from pipeline.timeline import Timeline


def facts(job: Job, known: Timeline) -> dict[str, str]:
    """What stands in a report besides what was heard."""
    uploaded = datetime.fromtimestamp(job.created_at, UTC)
    models = sorted({reading.model for reading in known.readings})
    told = {
        "Purpose": f"{job.purpose}: {job.remark}" if job.remark else job.purpose,
        "Consent": _agreed(job),
        "Uploaded": f"{uploaded:%-d %B %Y, %H:%M} UTC",
        "Length": f"{int(known.heard_until // 60)}:{int(known.heard_until % 60):02d}",
        "Emotion model": ", ".join(models),
    }
    return {name: fact for name, fact in told.items() if fact}


def declared(job: Job) -> Declared:
    """What its JSON says besides what was heard."""
    return Declared(purpose=job.purpose, remark=job.remark, consent=job.consent)


def _agreed(job: Job) -> str:
    if job.consent is None:
        return ""
    agreed = datetime.fromtimestamp(job.consent.agreed_at, UTC)
    return f"{job.consent.statement} Declared on {agreed:%-d %B %Y, %H:%M} UTC (wording {job.consent.version})"
