"""Posts over HTTPS as any client with OpenSSL would: post.py CERTIFICATE PORT TLSv1_2|TLSv1_3.

Prints the statuses without the token, and twice with it."""

import http.client
import ssl
import sys

certificate, port, version = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
context.set_alpn_protocols(["h2", "http/1.1"])


def post(connection, headers):
    connection.request("POST", "/enviar", body=b'{"id":1}', headers=headers)
    answer = connection.getresponse()
    answer.read()
    return str(answer.status)


def connect():
    return http.client.HTTPSConnection("localhost", int(port), timeout=30, context=context)


statuses = [post(connect(), {})]
connection = connect()
for _ in range(2):
    statuses.append(post(connection, {"Authorization": "Bearer 0123456789abcdef"}))
assert connection.sock.selected_alpn_protocol() == "http/1.1"
print(*statuses)
