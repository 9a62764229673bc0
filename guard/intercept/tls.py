"""TLS on both sides of the proxy: certificates minted for the agent's clients, servers verified for them.

Owns pyOpenSSL and cryptography (mitmproxy drives OpenSSL through the former). What never enters: requests, rules, sockets.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from guard.intercept.trust import CaPaths

AUTHORITY_NAME = "Guard inspection CA (this machine only)"
AUTHORITY_DAYS = 3650
LEAF_DAYS = 90  # clients refuse leaves of more than 398 days; the process lives for one session
BACKDATED = datetime.timedelta(days=1)  # clients with a clock a little behind
KEPT_LEAVES = 512  # certificates and their OpenSSL contexts in memory, a few KiB each
_RELEASE_BUFFERS = 0x10  # SSL_MODE_RELEASE_BUFFERS: an idle connection keeps no 34 KiB of buffers (SSL_CTX_set_mode(3))


def new_authority() -> tuple[bytes, bytes]:
    """A new key and the certificate of an authority, as PEM. P-256: a signature takes 30 µs where RSA takes 1 ms."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, certificate.public_bytes(pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    start = datetime.datetime.now(datetime.UTC) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _select_alpn(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """The client's first offer that we speak; `accepts` was set with the connection."""
    accepts = connection.get_app_data()
    for protocol in offered:
        if protocol in accepts:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS  # type: ignore[return-value]  # the handshake goes on without ALPN


class Authority:
    """Signs certificates in the place of servers; raises OSError and ValueError on unreadable files."""

    def __init__(self, paths: CaPaths) -> None:
        with open(paths.key, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        with open(paths.certificate, "rb") as file:
            self._certificate = x509.load_pem_x509_certificate(file.read())
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"`{paths.key}` is not a key on an elliptic curve")
        self._key = key
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[tuple[str, ...], SSL.Context] = OrderedDict()

    def server_side(self, names: tuple[str, ...], accepts: tuple[bytes, ...]) -> SSL.Connection:
        """A connection that plays the server of these names (host names or addresses), with these ALPN protocols."""
        context = self._contexts.get(names)
        if context is None:
            context = self._contexts[names] = self._context(names)
            while len(self._contexts) > KEPT_LEAVES:
                self._contexts.popitem(last=False)
        connection = SSL.Connection(context)
        connection.set_app_data(accepts)
        connection.set_accept_state()
        return connection

    def _context(self, names: tuple[str, ...]) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION)
        context.set_mode(_RELEASE_BUFFERS)
        context.set_alpn_select_callback(_select_alpn)
        context.use_certificate(self._leaf(names))
        context.use_privatekey(self._leaf_key)
        return context

    def _leaf(self, names: tuple[str, ...]) -> x509.Certificate:
        common = names[0] if len(names[0]) <= 64 else "guard"  # RFC 5280 §A.1: ub-common-name
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _builder(subject, self._certificate.subject, self._leaf_key.public_key(), LEAF_DAYS)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    own
                ),  # asked for by X509_V_FLAG_X509_STRICT
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


class Verifier:
    """Speaks to servers and verifies them as the agent's client would have: chain, dates and name, always."""

    def __init__(self, trusted: list[str]) -> None:
        """`trusted` are PEM files; with none every server is refused. Raises OSError where one has no certificate in it."""
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_options(SSL.OP_NO_COMPRESSION)
        self._context.set_mode(_RELEASE_BUFFERS)
        self._context.set_verify(SSL.VERIFY_PEER, None)
        for path in trusted:
            try:
                self._context.load_verify_locations(path)
            except SSL.Error as problem:
                raise OSError(f"no certificate could be read from `{path}`") from problem

    def client_side(self, name: str, sni: str | None, offers: list[bytes]) -> SSL.Connection:
        """A connection to a server that must prove to be `name` (host name or address); `sni` is what it is told."""
        connection = SSL.Connection(self._context)
        parameters = SSL._lib.SSL_get0_param(connection._ssl)  # type: ignore[attr-defined]  # no public call yet
        try:
            packed = ipaddress.ip_address(name).packed
        except ValueError:
            host = name.encode("idna")
            SSL._lib.X509_VERIFY_PARAM_set_hostflags(  # type: ignore[attr-defined]
                parameters,
                SSL._lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,  # type: ignore[attr-defined]
            )
            done = SSL._lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))  # type: ignore[attr-defined]
        else:
            done = SSL._lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))  # type: ignore[attr-defined]
        if done != 1:
            raise ValueError(f"OpenSSL cannot verify the name `{name}`")
        if sni is not None:
            connection.set_tlsext_host_name(sni.encode("idna"))
        if offers:
            connection.set_alpn_protos(offers)
        connection.set_connect_state()
        return connection
