"""Home, the curriculum and the lessons."""

from __future__ import annotations

from django.urls import path

from kafkalab.learn import views

app_name = "learn"
urlpatterns = [
    path("", views.home, name="home"),
    path("curriculum/", views.curriculum, name="curriculum"),
]
