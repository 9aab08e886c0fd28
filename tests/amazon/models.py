"""What botocore's models of Amazon's APIs say against a request.

A model knows types, required members, words of an enumeration, bounds and patterns. botocore's own validator checks the first two and
lower bounds; here is the rest, which it leaves to the service.
"""

import botocore.session
import regex
from botocore.validate import ParamValidator


class Models:
    """The models, each read once."""

    def __init__(self):
        self.session = botocore.session.get_session()
        self.services = {}

    def service(self, api):
        if api not in self.services:
            self.services[api] = self.session.get_service_model(api)
        return self.services[api]

    def faults(self, api, operation, request):
        shape = self.service(api).operation_model(operation).input_shape
        if shape is None:
            return []
        report = ParamValidator().validate(request, shape)
        return [report.generate_report()] if report.has_errors() else list(beyond(request, shape, ""))


def beyond(value, shape, path):
    """Enumerations, patterns and upper bounds."""
    meta = shape.metadata
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from beyond(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        yield from bounds(len(value), meta, path)
        for at, inner in enumerate(value):
            yield from beyond(inner, shape.member, f"{path}[{at}]")
    elif shape.type_name == "map":
        yield from bounds(len(value), meta, path)
        for key, inner in value.items():
            yield from beyond(key, shape.key, f"{path} key")
            yield from beyond(inner, shape.value, f"{path}.{key}")
    elif shape.type_name == "string":
        yield from bounds(len(value), meta, path)
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{path}: {value} is none of {shape.enum}"
        pattern = meta.get("pattern")
        if pattern and not regex.fullmatch(in_python(pattern), value):
            yield f"{path}: {value} does not match {pattern}"
    elif shape.type_name in ("integer", "long", "double", "float"):
        yield from bounds(value, meta, path)


def bounds(number, meta, path):
    if "min" in meta and number < meta["min"] or "max" in meta and number > meta["max"]:
        yield f"{path}: {number} is not between {meta.get('min')} and {meta.get('max')}"


def in_python(pattern):
    """Java writes what lies beyond 16 bits as pairs, and calls what can be printed by another name."""
    beyond_16_bits = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    return beyond_16_bits.replace(r"\p{Print}", r"[\p{Graph}\p{Blank}]")
