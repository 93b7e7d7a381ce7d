"""Home, the curriculum and the lessons."""

from __future__ import annotations

from django.urls import path

from kafkalab.learn import views

app_name = "learn"
urlpatterns = [
    path("", views.home, name="home"),
    path("curriculum/", views.curriculum, name="curriculum"),
    path("lessons/<slug:slug>/", views.intro, name="intro"),
    path("lessons/<slug:slug>/start/", views.start, name="start"),
    path("lessons/<slug:slug>/<str:sandbox_id>/", views.lesson_page, name="lesson"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/hint/", views.hint, name="hint"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/solution/", views.solution, name="solution"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/goals/", views.goals, name="goals"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/reset/", views.reset, name="reset"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/do/<int:index>/", views.do, name="do"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/experiment/<int:index>/", views.experiment, name="experiment"),
    path("lessons/<slug:slug>/<str:sandbox_id>/<int:step>/twins/<int:index>/", views.twins, name="twins"),
    path("lessons/<slug:slug>/<str:sandbox_id>/predict/<slug:prediction>/", views.predict, name="predict"),
]
