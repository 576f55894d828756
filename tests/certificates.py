"""A certificate authority of the test's own, and a server's certificate by it."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certify(folder: Path, address: str) -> None:
    """Write ca.pem, and tls.pem and tls.key for a server at the IP address, or on `localhost`."""
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    names = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in ("ca", "tls")}
    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in names}
    local = address == "localhost"
    host = x509.DNSName(address) if local else x509.IPAddress(ipaddress.ip_address(address))
    says: dict[str, x509.ExtensionType] = {
        "ca": x509.BasicConstraints(ca=True, path_length=None),
        "tls": x509.SubjectAlternativeName([host]),
    }
    for who, name in names.items():
        certificate = (
            x509.CertificateBuilder(names["ca"], name, keys[who].public_key(), x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + datetime.timedelta(days=2))
            .add_extension(says[who], critical=False)
            .sign(keys["ca"], hashes.SHA256())
        )
        (folder / f"{who}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key = keys["tls"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(key)
