"""A proxy between an SDK and a counterpart of Amazon's APIs, which lets nothing through that the real cloud would refuse by its models.

    python proxy.py PORT UPSTREAM LOG

Every request is read back into the members that the API's model names and judged by it (models.py). What breaks the model is answered
by 400 and goes no further; all of it stands in LOG, a line of JSON each: `api`, `operation`, `request`, `faults`, and the `status` that
was answered. A request that nobody here can read is refused, too.
"""

import http.client
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from models import Models

# By the name that the SDK signs a request for.
SIGNED_AS = {
    "ecs": "ecs",
    "logs": "logs",
    "iam": "iam",
    "sts": "sts",
    "ec2": "ec2",
    "elasticloadbalancing": "elbv2",
    "application-autoscaling": "application-autoscaling",
    "servicediscovery": "servicediscovery",
    "scheduler": "scheduler",
    "elasticfilesystem": "efs",
}


def main():
    port, upstream, log = int(sys.argv[1]), urlsplit(sys.argv[2]), open(sys.argv[3], "w", encoding="utf-8")
    proxy = Proxy(upstream, log)
    handler = type("Bound", (Handler,), {"proxy": proxy})
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


class Proxy:
    def __init__(self, upstream, log):
        self.upstream, self.log, self.lock = upstream, log, Lock()
        self.models = Models()

    def read(self, method, path, headers, body):
        """The API, the operation and its members."""
        api = SIGNED_AS[signed_as(headers)]
        model = self.models.service(api)
        protocol = model.resolved_protocol
        if protocol == "json":
            operation = headers["X-Amz-Target"].rsplit(".", 1)[-1]
            return api, operation, json.loads(body or "{}")
        if protocol in ("query", "ec2"):
            pairs = dict(parse_qsl(body.decode(), keep_blank_values=True))
            operation = pairs.pop("Action")
            pairs.pop("Version", None)
            shape = model.operation_model(operation).input_shape
            return api, operation, of_pairs(pairs, shape, "", protocol) if shape else {}
        if protocol == "rest-json":
            return (api, *of_path(model, method, path, body))
        raise ValueError(f"nobody here reads {protocol}")

    def judge(self, api, operation, request):
        with self.lock:
            return self.models.faults(api, operation, request)

    def forward(self, method, path, headers, body):
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def note(self, **line):
        with self.lock:
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers)
        try:
            api, operation, request = self.proxy.read(self.command, self.path, self.headers, body)
            faults = self.proxy.judge(api, operation, request)
        except Exception as error:  # what cannot be read is a fault of its own, whatever it is
            api, operation, request, faults = None, None, self.path, [f"unreadable: {error!r}"]
        if faults:
            status, told, answer = refusal("; ".join(faults), self.headers)
        else:
            status, told, answer = self.proxy.forward(self.command, self.path, headers, body)
        self.proxy.note(api=api, operation=operation, request=request, faults=faults, status=status)
        self.send_response(status)
        for name, value in told:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def log_message(self, *_):
        pass


def refusal(words, headers):
    """As the APIs refuse, in JSON or in XML."""
    if "x-www-form-urlencoded" in headers.get("Content-Type", ""):
        error = f"<Error><Code>ValidationError</Code><Message>{escape(words)}</Message></Error>"
        return 400, [("Content-Type", "text/xml")], f"<ErrorResponse>{error}</ErrorResponse>".encode()
    answer = json.dumps({"__type": "ValidationException", "message": words}).encode()
    return 400, [("Content-Type", "application/json")], answer


def signed_as(headers):
    """`AWS4-HMAC-SHA256 Credential=KEY/DAY/REGION/SERVICE/aws4_request, ...`"""
    return headers["Authorization"].split("Credential=")[1].split("/")[3]


def of_path(model, method, path, body):
    """Of an API whose operations are told apart by method and path: members stand in the path, in the query and in the body."""
    url = urlsplit(path)
    for operation in model.operation_names:
        http_of = model.operation_model(operation).http
        pattern, _, _ = http_of["requestUri"].partition("?")
        named = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", pattern)
        found = re.fullmatch(named, url.path.rstrip("/") or "/")
        if http_of["method"] == method and found:
            return operation, members(model.operation_model(operation).input_shape, found.groupdict(), url.query, body)
    raise ValueError(f"no operation has {method} {path}")


def members(shape, found, query, body):
    request = json.loads(body) if body else {}
    query = dict(parse_qsl(query))
    for name, member in shape.members.items():
        place, told = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "uri" and told in found:
            request[name] = unquote(found[told])
        if place == "querystring" and told in query:
            request[name] = query[told]
    return {name: as_python(value, shape.members[name]) for name, value in renamed(request, shape).items()}


def renamed(request, shape):
    """By their names in the model, where the wire has others."""
    names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
    return {names.get(key, key): value for key, value in request.items()}


def as_python(value, shape):
    """Members that the model has under other names than the wire, all the way down."""
    if shape.type_name == "structure" and isinstance(value, dict):
        return {key: as_python(inner, shape.members[key]) if key in shape.members else inner for key, inner in renamed(value, shape).items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [as_python(inner, shape.member) for inner in value]
    if shape.type_name in ("integer", "long") and isinstance(value, str):
        return int(value)
    return value


def of_pairs(pairs, shape, prefix, protocol):
    """`Tags.member.1.Key=...`: what the protocols `query` and `ec2` make of a structure."""
    kind = shape.type_name
    if kind == "structure":
        found = {}
        for name, member in shape.members.items():
            below = joined(prefix, wire_name(name, member, protocol))
            if any(key == below or key.startswith(below + ".") for key in pairs):
                found[name] = of_pairs(pairs, member, below, protocol)
        return found
    if kind == "list":
        flat = protocol == "ec2" or shape.serialization.get("flattened")
        below = prefix if flat else joined(prefix, shape.member.serialization.get("name", "member"))
        numbers = {int(key[len(below) + 1 :].split(".")[0]) for key in pairs if re.match(re.escape(below) + r"\.\d", key)}
        return [of_pairs(pairs, shape.member, f"{below}.{number}", protocol) for number in sorted(numbers)]
    value = pairs[prefix]
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("double", "float"):
        return float(value)
    return value == "true" if kind == "boolean" else value


def wire_name(name, member, protocol):
    told = member.serialization.get("name", name)
    if protocol == "ec2":
        told = member.serialization.get("queryName", told[0].upper() + told[1:])
    return told


def joined(prefix, name):
    return f"{prefix}.{name}" if prefix else name


if __name__ == "__main__":
    main()
