"""A real server that speaks S3 (moto's), with keys that count: a wrong signature is refused."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3

from gateway.config import Settings

_POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
_SETTING_UP = 4
"""Calls that are taken without keys: the four that make the bucket and the keys."""


class S3Server:
    """Started by the constructor, with one bucket; `kill` and `close` end it, and what it held is gone."""

    bucket = "ragfleet-test"

    def __init__(self, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_SETTING_UP)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            self._wait(port, log)
            self._set_up()
        except BaseException:
            self.close()
            raise

    def settings(self, prefix: str = "", **more: Any) -> Settings:
        """Those of a gateway that keeps its objects here."""
        wanted = {
            "objects_url": f"s3://{self.bucket}/{prefix}",
            "s3_endpoint": self.url,
            "s3_access_key": self.access_key,
            "s3_secret_key": self.secret_key,
        }
        return Settings(**{**wanted, **more})

    def environment(self, prefix: str = "") -> dict[str, str]:
        """The same as variables."""
        return {
            "RAGFLEET_OBJECTS_URL": f"s3://{self.bucket}/{prefix}",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def begun_uploads(self) -> list[str]:
        """Keys of which parts lie there that no object shows."""
        found = self._client("s3").list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [each["Key"] for each in found]

    def objects(self) -> list[str]:
        """All keys of the bucket, with their prefixes."""
        found = self._client("s3").list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in found]

    def delete(self, key: str) -> None:
        """Remove an object behind the gateway's back."""
        self._client("s3").delete_object(Bucket=self.bucket, Key=key)

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def _wait(self, port: int, log: Path) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the S3 server did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.05)

    def _set_up(self) -> None:
        self.access_key = self.secret_key = "nobody"
        self._client("s3").create_bucket(Bucket=self.bucket)
        iam = self._client("iam")
        iam.create_user(UserName="gateway")
        iam.put_user_policy(UserName="gateway", PolicyName="objects", PolicyDocument=_POLICY)
        made = iam.create_access_key(UserName="gateway")["AccessKey"]
        self.access_key, self.secret_key = made["AccessKeyId"], made["SecretAccessKey"]

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
