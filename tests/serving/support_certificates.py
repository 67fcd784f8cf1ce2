"""Certificates of an authority that exists in a test only."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(
    folder: Path, *, address: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)
) -> Certificates:
    """An authority, and what it signed: for a server and for a client.

    Args:
        folder: gets the files.
        address: the server's.
        days: from and until when, from now on, what it signed is valid.
    """
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key, "test authority", authority_key)
    written = [_write(folder / "ca.pem", authority)]
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(name, key, "test authority", authority_key, address, days)
        written += [_write(folder / f"{name}.pem", signed), _write(folder / f"{name}.key", key)]
    return Certificates(*written)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    address: str = "127.0.0.1",
    days: tuple[int, int] = (-1, 1),
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    is_authority = key is issuer_key
    since, until = (now + datetime.timedelta(days=each) for each in days)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_for_address(address), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _for_address(address: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(file: Path, what: x509.Certificate | ec.EllipticCurvePrivateKey) -> Path:
    pem = serialization.Encoding.PEM
    if isinstance(what, x509.Certificate):
        file.write_bytes(what.public_bytes(pem))
    else:
        kind, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write_bytes(what.private_bytes(pem, kind, secret))
    return file
