"""The whole graph. `serve run deployments.app:build` and a Serve config file start it; so does `tonetrack up`.

Serve reads the type of `build`'s argument to make the settings, so annotations must not be postponed here.
"""

from ray import serve
from ray.serve.task_consumer import task_consumer

from deployments.diariser import Diariser
from deployments.emotion import EmotionRecogniser
from deployments.ingress import Ingress
from deployments.queue import autoscaling, queue_config
from deployments.recordings import RecordingWorker
from deployments.settings import Settings

# A WebSocket holds one of the ingress's places for as long as it lasts. Admission is the application's own
# (`Settings.max_sessions`), for a full queue here would answer handshakes with a bare 500.
SOCKETS = 10_000

# Serve learns from these alone that a replica has died, and starts another; by itself it looks every 10 s.
HEALTH_SECONDS = 1.0


def build(settings: Settings) -> serve.Application:
    """Bind the graph: the ingress hands frames to session actors, which ask the diariser and the recogniser.

    What is uploaded waits in a queue, from which workers take it; they ask the same two.
    """
    diariser = serve.deployment(
        num_replicas=settings.diariser_replicas,
        ray_actor_options={"num_cpus": settings.diariser_cpus},
        max_ongoing_requests=64,
        health_check_period_s=HEALTH_SECONDS,
    )(Diariser).bind(settings)
    recogniser = serve.deployment(
        autoscaling_config={
            "min_replicas": settings.emotion_min_replicas,
            "max_replicas": settings.emotion_max_replicas,
            "target_ongoing_requests": 4,
        },
        ray_actor_options={"num_cpus": settings.emotion_cpus, "num_gpus": settings.emotion_gpus},
        max_ongoing_requests=64,
        health_check_period_s=HEALTH_SECONDS,
    )(EmotionRecogniser).bind(settings)
    worker = serve.deployment(
        autoscaling_config=autoscaling(settings),
        ray_actor_options={"num_cpus": settings.recording_cpus},
        max_ongoing_requests=1,
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_timeout_s=2,  # another goes on with what it hears
    )(task_consumer(task_processor_config=queue_config(settings))(RecordingWorker)).bind(settings, diariser, recogniser)
    ingress = serve.deployment(
        ray_actor_options={"num_cpus": settings.ingress_cpus},
        max_ongoing_requests=SOCKETS,
        health_check_period_s=HEALTH_SECONDS,
    )(Ingress)
    return ingress.bind(settings, diariser, recogniser, worker)
