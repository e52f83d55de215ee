"""The whole graph. `serve run deployments.app:build` and a Serve config file start it; so does `tonetrack up`.

Serve reads the type of `build`'s argument to make the settings, so annotations must not be postponed here.
"""

from ray import serve

from deployments.diariser import Diariser
from deployments.emotion import EmotionRecogniser
from deployments.ingress import Ingress
from deployments.settings import Settings

# A WebSocket holds one of the ingress's places for as long as it lasts. Admission is the application's own
# (`Settings.max_sessions`), for a full queue here would answer handshakes with a bare 500.
SOCKETS = 10_000


def build(settings: Settings) -> serve.Application:
    """Bind the graph: the ingress hands frames to session actors, which ask the diariser and the recogniser."""
    diariser = serve.deployment(
        num_replicas=settings.diariser_replicas,
        ray_actor_options={"num_cpus": settings.diariser_cpus},
        max_ongoing_requests=64,
    )(Diariser).bind()
    recogniser = serve.deployment(
        autoscaling_config={
            "min_replicas": settings.emotion_min_replicas,
            "max_replicas": settings.emotion_max_replicas,
            "target_ongoing_requests": 4,
        },
        ray_actor_options={"num_cpus": settings.emotion_cpus, "num_gpus": settings.emotion_gpus},
        max_ongoing_requests=64,
    )(EmotionRecogniser).bind()
    ingress = serve.deployment(
        ray_actor_options={"num_cpus": settings.ingress_cpus},
        max_ongoing_requests=SOCKETS,
    )(Ingress)
    return ingress.bind(settings, diariser, recogniser)
