"""Where sandboxes lie: their pages (below /sandbox/) and their sockets. Share links have short addresses of their own."""

from __future__ import annotations

from django.urls import path, re_path

from kafkalab.sandbox import views
from kafkalab.sandbox.consumers import SandboxConsumer

app_name = "sandbox"
urlpatterns = [
    path("new/", views.new, name="new"),
    path("import/", views.import_file, name="import"),
    path("<str:sandbox_id>/", views.page, name="page"),
    path("<str:sandbox_id>/delete/", views.delete, name="delete"),
    path("<str:sandbox_id>/file/", views.download, name="download"),
    path("<str:sandbox_id>/twin/<str:twin_id>/", views.twin, name="twin"),
]

websocket_urlpatterns = [
    re_path(r"^ws/sandbox/(?P<sandbox_id>[^/]{1,80})/$", SandboxConsumer.as_asgi()),
]
