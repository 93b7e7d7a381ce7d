"""Everything that can be set, in one place. Nothing has to be: without any variable the site runs from `var/`.

HOST, PORT              the address to listen on (127.0.0.1, 8000)
KAFKALAB_VAR            the folder for the secret key and the database (var/ beside manage.py)
KAFKALAB_SECRET_KEY     Django's secret key (made once, in var/secret_key)
KAFKALAB_ALLOWED_HOSTS  comma-separated names that browsers use (this machine; any, if HOST is 0.0.0.0)
KAFKALAB_HTTPS          1 behind a proxy that speaks TLS: secure cookies, HSTS (0)
KAFKALAB_DEBUG          1 for Django's debug pages and reloaded templates (0)
KAFKALAB_LOG_LEVEL      DEBUG, INFO, WARNING, … (INFO)
DATABASE_URL            postgres://user:password@host:port/name (SQLite in var/kafkalab.sqlite3)
REDIS_URL               redis://host:port/0, the channel layer between processes (one process, in memory)
"""

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from kafkalab.private_files import private_directory, private_file, secret_in

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value not in {"", "0", "1", "no", "yes", "false", "true"}:
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes 1 or 0.")
    return value in {"1", "yes", "true"}


VAR_DIR = private_directory(Path(os.environ.get("KAFKALAB_VAR") or BASE_DIR / "var"))

# ── who we are ────────────────────────────────────────────────────────────────
DEBUG = _flag("KAFKALAB_DEBUG")
HTTPS = _flag("KAFKALAB_HTTPS")
SECRET_KEY = os.environ.get("KAFKALAB_SECRET_KEY") or secret_in(VAR_DIR / "secret_key")

HOST = os.environ.get("HOST") or "127.0.0.1"
_LISTENS_EVERYWHERE = HOST in {"*", "0.0.0.0", "::"}  # noqa: S104  (compared, not bound)
_HOSTS = [name.strip() for name in os.environ.get("KAFKALAB_ALLOWED_HOSTS", "").split(",") if name.strip()]
# Whoever listens on every address has said that any name may reach the site. Sockets check their origin all the same.
ALLOWED_HOSTS = _HOSTS or (
    ["*"] if _LISTENS_EVERYWHERE else ["127.0.0.1", "localhost", "[::1]", f"[{HOST}]" if ":" in HOST else HOST]
)

# ── what it is made of ────────────────────────────────────────────────────────
INSTALLED_APPS = [
    "daphne",  # first: it replaces runserver
    "channels",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "ninja",  # serves the pages of the API's documentation from here, so that they work offline
    "kafkalab.accounts",
    "kafkalab.sandbox",
    "kafkalab.learn",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "kafkalab.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "kafkalab.accounts.middleware.remember_visitor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "kafkalab.urls"
ASGI_APPLICATION = "kafkalab.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# ── where it keeps things ─────────────────────────────────────────────────────
_DATABASE_URL = os.environ.get("DATABASE_URL", "")
_database: dict[str, Any]
if _DATABASE_URL:
    _database = {**dj_database_url.parse(_DATABASE_URL)}
    if "postgresql" in _database["ENGINE"]:
        # Under ASGI a connection cannot stay with its thread; the pool keeps it alive between calls instead.
        _database.setdefault("OPTIONS", {}).setdefault("pool", {"min_size": 1, "max_size": 8, "timeout": 10})
else:
    _database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": private_file(VAR_DIR / "kafkalab.sqlite3"),
        "OPTIONS": {
            "timeout": 20,  # seconds to wait for another writer
            "transaction_mode": "IMMEDIATE",  # take the write lock at BEGIN: no upgrade can fail half-way
            # WAL: readers never wait. NORMAL: a killed process loses nothing, a power cut the last moment.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=16777216;",
        },
        # A file, as in earnest: an in-memory database would lock whole tables between threads.
        # One for each process, so that two test runs at once do not meet.
        "TEST": {"NAME": Path(gettempdir()) / f"kafkalab-test-{os.getpid()}.sqlite3"},
    }
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL", "")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": (
        {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # The layer waits 5 s at a time in Redis; redis-py's own default would give up on the socket in the same moment.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 30}], "prefix": "kafkalab"},
        }
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

# ── static files: served by the same process, straight from where they lie (kafkalab/static_files.py) ─────────────
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"] if (BASE_DIR / "static").is_dir() else []
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0  # always revalidated, so that an upgrade is seen at once
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/static/vendor/[^/]+-\d[^/]*/"  # these carry their version in their path
WHITENOISE_ALLOW_ALL_ORIGINS = False


def _add_static_headers(headers: Any, path: str, url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"


WHITENOISE_ADD_HEADERS_FUNCTION = _add_static_headers

# ── language and time ─────────────────────────────────────────────────────────
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = "UTC"
USE_TZ = True

# ── accounts and visitors ─────────────────────────────────────────────────────
VISITOR_COOKIE_NAME = "kafkalab_visitor"
VISITOR_COOKIE_AGE_S = 400 * 24 * 3600  # the longest that browsers keep a cookie
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_REDIRECT_URL = "/"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

# ── what browsers are told ────────────────────────────────────────────────────
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 30 * 24 * 3600
    CSRF_TRUSTED_ORIGINS = [f"https://{name.replace('*', '')}" for name in _HOSTS]

# ── limits on what comes in ───────────────────────────────────────────────────
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 * 1024 * 1024  # a shared sandbox file is the largest body; the API says so by name
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
DATA_UPLOAD_MAX_NUMBER_FILES = 4
FILE_UPLOAD_MAX_MEMORY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE
WEBSOCKET_MAX_MESSAGE_BYTES = 2 * 1024 * 1024  # dropped at the door; below it, the sandbox names its own bound in its error

# ── logging ───────────────────────────────────────────────────────────────────
LOG_LEVEL = (os.environ.get("KAFKALAB_LOG_LEVEL") or "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": LOG_LEVEL, "propagate": False},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # answered with 400; robots would fill the log
        "django.request": {"level": "ERROR"},  # what a client asked for in vain is the client's to know
        "daphne": {"level": "WARNING"},
        "asyncio": {"level": "WARNING"},
    },
}
