"""Share links, short enough to read out: /s/<token>/."""

from __future__ import annotations

from django.urls import path

from kafkalab.sandbox import views

app_name = "share"
urlpatterns = [
    path("<str:token>/", views.open_share, name="open"),
    path("<str:token>/file/", views.share_file, name="file"),
]
