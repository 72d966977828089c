"""Who vouches for whom in the tests on a secured Kafka: certificates, and an issuer of OAuth tokens with an HTTPS
endpoint for client credentials.

Started as `authority.py FOLDER`. FOLDER gets the certificates of `certificates` below, and `jwks.json`, the issuer's
public key. The first line of the standard output is the port of the endpoint, on the loopback address. Then one command
a line on the standard input, its words separated by tabs, and one line as the answer:

    certificates FOLDER               a new set of certificates, of an authority of its own -> ok
    token SUBJECT SECONDS [AUDIENCE]  a token that lives so long (negative: that is past its time) -> the token
    count PATH                        how many requests the endpoint had for this path -> the number
    last PATH                         the last request for this path, as JSON: headers and form

The path of the endpoint says how it answers: `/token/MODE/NAME`, where NAME sets one test apart from others. MODE is

    ok        a token of ten minutes for the client's id, where the secret is that of CLIENTS
    brief     a token of 30 seconds
    rarely    503 twice of three times
    refuse    401 invalid_client        html      200 and a page         huge     200 and 16 MiB
    empty     200 and {}                hang      no answer              cut      half an answer
"""

import base64
import datetime
import ipaddress
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://issuer.example"
AUDIENCE = "kafka-of-the-tests"
KEY_ID = "the-only-key"
CLIENTS = {"adela": "the secret of: adela/1"}

DAY = datetime.timedelta(days=1)
TODAY = (datetime.datetime.now(datetime.timezone.utc) - DAY, datetime.datetime.now(datetime.timezone.utc) + 2 * DAY)
PAST = (TODAY[0] - 2 * DAY, TODAY[0])
LOCAL = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]
PEM = serialization.Encoding.PEM
UNENCRYPTED = serialization.NoEncryption()


def new_p256():
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def name(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def builder(subject, issuer, key, valid):
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


def private(path, key, form=serialization.PrivateFormat.PKCS8):
    write(path, key.private_bytes(PEM, form, UNENCRYPTED))


def write(path, content):
    """A file for its owner alone, there whole or not at all."""
    with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)


class Authority:
    """One that signs certificates; its own is in `NAME.pem`."""

    def __init__(self, folder, called):
        self.folder = folder
        self.key = new_p256()
        self.name = name(called)
        certificate = (
            builder(called, self.name, self.key, TODAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            )
            .sign(self.key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(PEM)
        write(self.path(called + ".pem"), self.certificate)

    def path(self, file):
        return os.path.join(self.folder, file)

    def sign(self, subject, key, usage, names=(), valid=TODAY):
        certificate = (
            builder(subject, self.name, key, valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if names:
            certificate = certificate.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return certificate.sign(self.key, hashes.SHA256()).public_bytes(PEM)

    def server(self, file, key, names, valid=TODAY):
        """Key and chain in one file, as Kafka wants them."""
        certificate = self.sign("kafka", key, ExtendedKeyUsageOID.SERVER_AUTH, names, valid)
        key = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, UNENCRYPTED)
        write(self.path(file), key + certificate + self.certificate)

    def client(self, file, subject, key, forms):
        certificate = self.sign(subject, key, ExtendedKeyUsageOID.CLIENT_AUTH)
        write(self.path(file + ".crt"), certificate)
        for suffix, form in forms:
            private(self.path(f"{file}.{suffix}"), key, form)


def certificates(folder):
    """ca.pem and stranger.pem, two authorities. Of the first: server-rsa.pem and server-p256.pem for localhost,
    other-name.pem for another host, expired.pem, and for clients adela-rsa and adela-p256, each .crt, .pkcs8 and
    .pkcs1 or .sec1. Of the other: unknown.pem for localhost, and intruder .crt and .pkcs8."""
    os.makedirs(folder, exist_ok=True)
    pkcs8, traditional = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    known, other = Authority(folder, "ca"), Authority(folder, "stranger")
    known.server("server-rsa.pem", new_rsa(), LOCAL)
    known.server("server-p256.pem", new_p256(), LOCAL)
    known.server("other-name.pem", new_p256(), [x509.DNSName("kafka.example.com")])
    known.server("expired.pem", new_p256(), LOCAL, PAST)
    other.server("unknown.pem", new_p256(), LOCAL)
    known.client("adela-rsa", "adela", new_rsa(), [("pkcs8", pkcs8), ("pkcs1", traditional)])
    known.client("adela-p256", "adela", new_p256(), [("pkcs8", pkcs8), ("sec1", traditional)])
    other.client("intruder", "intruder", new_p256(), [("pkcs8", pkcs8)])


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer:
    """Signs tokens with RS256, and counts what its endpoint was asked."""

    def __init__(self, folder):
        self.key = new_rsa()
        self.requests = {}
        self.lock = threading.Lock()
        numbers = self.key.public_key().public_numbers()
        n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, "n": base64url(n), "e": base64url(e)}
        write(os.path.join(folder, "jwks.json"), json.dumps({"keys": [key]}).encode())

    def token(self, subject, seconds, audience=AUDIENCE, scope="kafka"):
        now = int(time.time())
        issued = now - 3600 if seconds < 0 else now
        claims = {"iss": ISSUER, "sub": subject, "aud": audience, "scope": scope, "iat": issued, "exp": now + seconds}
        head = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64url(signature)}"

    def note(self, path, request):
        with self.lock:
            self.requests.setdefault(path, []).append(request)
            return len(self.requests[path])


def endpoint(issuer, folder):
    """A server for client credentials, with the certificate for localhost."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = dict(urllib.parse.parse_qsl(body))
            request = {"headers": {k.lower(): v for k, v in self.headers.items()}, "form": form}
            count = issuer.note(self.path, request)
            mode = self.path.split("/")[2:3]
            getattr(self, mode[0] if mode else "refuse", self.refuse)(form, count)

        do_GET = do_POST

        def client(self, form):
            """The client's id, when it knows its secret: by Basic authentication or in the form."""
            given = form.get("client_id"), form.get("client_secret")
            kind, _, basic = self.headers.get("authorization", "").partition(" ")
            if kind == "Basic":
                given = map(urllib.parse.unquote_plus, base64.b64decode(basic).decode().split(":", 1))
            identity, secret = given
            right = form.get("grant_type") == "client_credentials" and CLIENTS.get(identity) == secret
            return identity if right else None

        def answer(self, status, body, kind="application/json"):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def grant(self, form, seconds):
            client = self.client(form)
            if client is None:
                return self.refuse(form, 0)
            token = issuer.token(client, seconds, scope=form.get("scope", "kafka"))
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": seconds}
            self.answer(200, json.dumps(answer).encode())

        def ok(self, form, _):
            self.grant(form, 600)

        def brief(self, form, _):
            self.grant(form, 30)

        def rarely(self, form, count):
            self.grant(form, 600) if count % 3 == 0 else self.answer(503, b"{}")

        def refuse(self, *_):
            self.answer(401, b'{"error":"invalid_client","error_description":"the secret is wrong"}')

        def html(self, *_):
            self.answer(200, b"<html>Sign in</html>", "text/html")

        def huge(self, *_):
            self.answer(200, b'{"access_token":"' + b"x" * (16 << 20) + b'"}')

        def empty(self, *_):
            self.answer(200, b"{}")

        def hang(self, *_):
            time.sleep(3600)

        def cut(self, *_):
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
            self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """A client that does not trust the certificate leaves; that is what tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server-p256.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def main():
    folder = sys.argv[1]
    certificates(folder)
    issuer = Issuer(folder)
    print(endpoint(issuer, folder), flush=True)
    for line in sys.stdin:
        match line.rstrip("\n").split("\t"):
            case ["certificates", place]:
                certificates(place)
                print("ok", flush=True)
            case ["token", subject, seconds, *audience]:
                print(issuer.token(subject, int(seconds), *audience), flush=True)
            case ["count", path]:
                print(len(issuer.requests.get(path, [])), flush=True)
            case ["last", path]:
                print(json.dumps(issuer.requests.get(path, [None])[-1]), flush=True)


main()
