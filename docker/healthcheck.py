"""The images' health check: `healthcheck.py [PORT PATH [ADDRESS]]`, status 0 for an answer of 200 (on loopback).

Without arguments it asks what entrypoint.sh wrote into $RAGFLEET_HOME/healthcheck. It imports little, for it runs every few
seconds beside the thing it checks. A gateway that has a certificate is asked over TLS; that it is on loopback says who it is.
"""

import os
import socket
import sys

SECONDS = 2.5


def main(arguments: list[str]) -> int:
    """The exit status; what went wrong is printed, and `docker inspect` shows it."""
    try:
        port, path, *address = arguments or _written()
        with _connected(address[0] if address else "127.0.0.1", int(port)) as connection:
            # HTTP/1.0 and no keep-alive: an idle connection would hold up the end of Triton (docs/transport.md).
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            status = connection.recv(64).split(b"\r\n", 1)[0].decode("latin-1")
    except (OSError, ValueError) as error:
        print(error)
        return 1
    print(status)
    return 0 if " 200 " in f"{status} " else 1


def _connected(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=SECONDS)
    if not os.environ.get("RAGFLEET_TLS_CERT_FILE"):
        return connection
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def _written() -> list[str]:
    with open(os.path.join(os.environ["RAGFLEET_HOME"], "healthcheck"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        return file.read().split()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
