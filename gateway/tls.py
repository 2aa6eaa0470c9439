"""TLS: the gateway's own certificate, and whom it trusts where it is itself the client. The files are read here alone."""

import ssl
from functools import cache
from pathlib import Path

from gateway.config import Settings
from gateway.environment import ConfigError


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """For the gateway's port; None: plain HTTP. Raises ConfigError for what cannot be read or does not fit together."""
    if settings.tls_cert_file is None:
        if settings.tls_key_file is not None:
            raise ConfigError("RAGFLEET_TLS_KEY_FILE is set without RAGFLEET_TLS_CERT_FILE. Set both, or none.")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, "TLS", settings.tls_cert_file, settings.tls_key_file)
    return context


def client_context(settings: Settings) -> ssl.SSLContext:
    """For what the gateway asks over TLS: Tritons, Consul. Raises ConfigError as above."""
    if settings.ca_file is settings.client_cert_file is settings.client_key_file is None:
        return _public_authorities()
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        _check_readable("RAGFLEET_CA_FILE", settings.ca_file)
        try:
            context.load_verify_locations(settings.ca_file)
        except ssl.SSLError as error:
            raise ConfigError(f"RAGFLEET_CA_FILE={settings.ca_file} holds no certificate in PEM.") from error
    if settings.client_cert_file is not None:
        _load_certificate(context, "CLIENT", settings.client_cert_file, settings.client_key_file)
    elif settings.client_key_file is not None:
        raise ConfigError("RAGFLEET_CLIENT_KEY_FILE is set without RAGFLEET_CLIENT_CERT_FILE. Set both, or none.")
    return context


@cache
def _public_authorities() -> ssl.SSLContext:
    """What the machine trusts; reading it takes 25 ms."""
    return ssl.create_default_context()


def _load_certificate(context: ssl.SSLContext, kind: str, certificate: Path, key: Path | None) -> None:
    """key: None where it is in the certificate's file."""
    _check_readable(f"RAGFLEET_{kind}_CERT_FILE", certificate)
    if key is not None:
        _check_readable(f"RAGFLEET_{kind}_KEY_FILE", key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        where = f"RAGFLEET_{kind}_CERT_FILE={certificate}" + (f" and RAGFLEET_{kind}_KEY_FILE={key}" if key else "")
        raise ConfigError(
            f"{where} are no certificate and its key. Give PEM, the certificate first and then those that it was signed by, "
            "and a key without a password."
        ) from error


def _check_readable(variable: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{variable}={file} cannot be read: {error.strerror or error}") from error


def _no_password() -> str:
    """Else OpenSSL would ask for it at the terminal."""
    raise ValueError
