"""The HTTP API: the same commands that buttons, lessons and sockets use, described by OpenAPI at /api/docs."""

from importlib import import_module
from importlib.util import find_spec

from ninja import NinjaAPI

from kafkalab import __version__

api = NinjaAPI(
    title="KafkaLab",
    version=__version__,
    description="Drive a simulated Kafka cluster. A sandbox belongs to the browser, or cookie jar, that made it.",
    urls_namespace="api",
)
if find_spec("kafkalab.sandbox.api"):
    api.add_router("", import_module("kafkalab.sandbox.api").router)
