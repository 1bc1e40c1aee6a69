"""Prefect flows; the only room of Prefect. May import the public names of pipeline's packages, except for cli.

Nothing is sent anywhere: telemetry of Prefect is off unless the environment says otherwise.
"""

from __future__ import annotations

import os

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""Environment of Prefect's processes here. The last three keep a short-lived server from losing records of tasks. The
interval is in whole seconds: Prefect cuts off the rest, and its server never rests at 0."""

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
