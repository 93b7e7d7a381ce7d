"""Where each slice's pages lie. 400, 403, 404 and 500 are the templates of those names."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

from kafkalab.api import api

urlpatterns: list[URLPattern | URLResolver] = [path("api/", api.urls)]
if find_spec("kafkalab.sandbox.urls"):
    urlpatterns.append(path("sandbox/", include("kafkalab.sandbox.urls")))
if find_spec("kafkalab.learn.urls"):
    urlpatterns.append(path("", include("kafkalab.learn.urls")))
