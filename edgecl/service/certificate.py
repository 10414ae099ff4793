"""A certificate of one's own: self-signed, made once, known by its fingerprint."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ..errors import BadInput, require
from ..storage.whole import write_whole

DAYS = 3650  # a board without a clock begins in the past: it is valid from long before


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a PEM certificate as people compare it."""
    try:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    except (OSError, ValueError) as error:
        raise BadInput(f"The certificate '{certificate}' cannot be read: {error}.", "Check the file.") from error
    return ":".join(digest[i : i + 2] for i in range(0, 64, 2))


def own_certificate(folder: Path, names: frozenset[str]) -> tuple[Path, Path]:
    """Certificate and key in ``folder``, for ``names``; made (P-256, 10 years) where they are not there yet."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if certificate.exists() and key.exists():
        return certificate, key
    require("cryptography", "crypto")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgecl on {os.uname().nodename}"[:64])])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=timezone.utc))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative(x509, n) for n in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_whole(key, private.private_bytes(pem, plain, serialization.NoEncryption()))
    write_whole(certificate, made.public_bytes(pem), 0o644)
    return certificate, key


def _alternative(x509: Any, name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
