"""The HTTP API: the same commands that buttons, lessons and sockets use, described by OpenAPI at /api/docs."""

from ninja import NinjaAPI

from kafkalab import __version__
from kafkalab.sandbox import api as sandbox_api

api = NinjaAPI(
    title="KafkaLab",
    version=__version__,
    description="Drive a simulated Kafka cluster. A sandbox belongs to the browser, or cookie jar, that made it.",
    urls_namespace="api",
)
sandbox_api.install(api)
api.add_router("", sandbox_api.router)
