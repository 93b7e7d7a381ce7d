"""The accounts slice, as Django sees it."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "kafkalab.accounts"
    label = "accounts"
