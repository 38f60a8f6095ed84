"""A real S3 server for tests: moto in a process of its own, which checks every signature with Amazon's own library."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import requests

from tests.ports import free_port

BUCKET = "ngx-attachments"
REGION = "eu-test-1"
SET_UP = 4
"""Calls that are not checked: they make the user, its rights, its key, and the bucket."""
START_S = 30.0
_ALL_RIGHTS = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


class S3Server:
    """`access_key` and `secret_key` are its one user's, who may do everything."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.access_key = self.secret_key = ""
        self._told = TemporaryFile()  # noqa: SIM115  # `stop` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(SET_UP), "MOTO_PORT": str(self.port)},
            stdout=self._told,
            stderr=self._told,
            cwd=Path("/tmp"),
        )

    def start(self) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                self._set_up()
            except requests.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    self._told.seek(0)
                    raise AssertionError(self._told.read().decode()) from None
                time.sleep(0.1)
            else:
                return

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.go_on()
        self._process.kill()
        self._process.wait()
        self._told.close()

    def _set_up(self) -> None:
        self._manage(Action="CreateUser", UserName="ngx")
        self._manage(Action="PutUserPolicy", UserName="ngx", PolicyName="all", PolicyDocument=_ALL_RIGHTS)
        made = self._manage(Action="CreateAccessKey", UserName="ngx")
        self.access_key = re.findall("<AccessKeyId>(.*?)</AccessKeyId>", made)[0]
        self.secret_key = re.findall("<SecretAccessKey>(.*?)</SecretAccessKey>", made)[0]
        self._said(requests.put(f"{self.url}/{BUCKET}", headers=_scope("s3"), timeout=10))

    def _manage(self, **form: str) -> str:
        return self._said(
            requests.post(self.url, data={**form, "Version": "2010-05-08"}, headers=_scope("iam"), timeout=10)
        )

    def _said(self, answer: requests.Response) -> str:
        assert answer.status_code == 200, answer.text
        return answer.text


def _scope(service: str) -> dict[str, str]:
    credential = f"nobody/20260101/us-east-1/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.stop()
