"""Where each slice's pages lie. 400, 403, 404 and 500 are the templates of those names."""

from django.urls import include, path

from kafkalab.api import api

urlpatterns = [
    path("", include("kafkalab.learn.urls")),
    path("sandbox/", include("kafkalab.sandbox.urls")),
    path("s/", include("kafkalab.sandbox.share_urls")),
    path("api/", api.urls),
]
