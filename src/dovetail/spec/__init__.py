"""Declare a setting once; validation, problems with places, JSON Schema, docs, forms and redaction are derived."""

from dovetail.spec.derive import form, json_schema, markdown, object_schema, redact, walk
from dovetail.spec.field import REQUIRED, Field, field
from dovetail.spec.kinds import UNKNOWN
from dovetail.spec.problem import Location, Locator, Path, Problem, Report, nearest, nowhere, show_path
from dovetail.spec.scalars import MASK, Duration, Loose, Rate, Scalar, Secret, Size
from dovetail.spec.spec import Spec

__all__ = [
    "MASK",
    "REQUIRED",
    "UNKNOWN",
    "Duration",
    "Field",
    "Location",
    "Locator",
    "Loose",
    "Path",
    "Problem",
    "Rate",
    "Report",
    "Scalar",
    "Secret",
    "Size",
    "Spec",
    "field",
    "form",
    "json_schema",
    "markdown",
    "nearest",
    "nowhere",
    "object_schema",
    "redact",
    "show_path",
    "walk",
]
