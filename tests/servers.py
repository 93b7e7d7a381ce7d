"""A server of one's own, in a process of its own: for browser tests, and for tests that kill it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
_READY = re.compile(r"KafkaLab is ready: (http://\S+)")


class Server:
    """`python -m kafkalab.cli run` on a free port, keeping its things in `var`; may be started again."""

    def __init__(self, var: Path, **environment: str) -> None:
        self.var = var
        self.environment = {**os.environ, "KAFKALAB_VAR": str(var), "KAFKALAB_LOG_LEVEL": "WARNING", **environment}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self, timeout_s: float = 30) -> "Server":
        """Start, and return when the server has said that it is ready."""
        with (self.var / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "kafkalab.cli", "run", "--host", "127.0.0.1", "--port", "0"],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            if select.select([self.process.stdout], [], [], 0.2)[0]:
                line = self.process.stdout.readline()
                if ready := _READY.search(line):
                    self.url = ready[1]
                    return self
        self.kill()
        raise AssertionError(f"the server did not start within {timeout_s} s:\n{self.log()}")

    def log(self) -> str:
        """Return what the server wrote to its standard error so far."""
        return (self.var / "server.log").read_text()

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does, and return its exit code."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
