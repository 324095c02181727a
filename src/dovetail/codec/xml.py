"""XML as plain data.

An element becomes a key, repeated elements a list, an attribute `_name`, text beside attributes or elements `_text`.
Names are local names: prefixes and namespace declarations are dropped. Documents with a DTD are refused, entities are
never resolved and nothing is fetched; nesting is bounded at 64.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from dovetail.codec.base import CodecError, charset_of
from dovetail.codec.text import scalar_text

MAX_DEPTH: Final = 64
_DTD: Final = "the document has a DTD (<!DOCTYPE …>), which is not accepted"
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"


class XmlCodec:
    """`application/xml`, `text/xml` and everything that ends in `+xml`."""

    name = "xml"
    media_type = "application/xml"

    def __init__(self, charset: str | None = None) -> None:
        self.charset = charset

    def decode(self, body: bytes) -> dict[str, Any]:
        """`{root: value}`. Raises CodecError with line and column."""
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, dtd_validation=False,
            remove_comments=True, remove_pis=True, encoding=charset_of(self.charset) if self.charset else None,
        )  # fmt: skip
        try:
            root = etree.fromstring(body, parser)
        except etree.XMLSyntaxError as error:
            raise CodecError(_reason(error), line=_at(error, 0), column=_at(error, 1)) from None
        except (ValueError, LookupError) as error:
            raise CodecError(f"not XML: {error}") from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise CodecError(_DTD, line=1)
        return {_local(root.tag): _value(root, 1)}

    def encode(self, value: Any) -> bytes:
        """An XML document of `{root: value}`. Raises CodecError for names and characters that XML does not have."""
        if not isinstance(value, dict) or len(value) != 1:
            raise CodecError("an XML document has one root: write {name: value}")
        ((name, inner),) = value.items()
        if isinstance(inner, list | tuple):
            raise CodecError(f"an XML document has one root, and '{name}' is a list")
        root = _element(name, None)
        _fill(root, inner, 1)
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _at(error: etree.XMLSyntaxError, index: int) -> int:
    place: Any = error.position
    return place[index] or 0


def _reason(error: etree.XMLSyntaxError) -> str:
    text = (error.msg or str(error)).split("\n")[0].partition(", line ")[0]
    if "entity amplification" in text or "ntity reference loop" in text:
        return _DTD  # the parser's own bounds are met before we see the DTD
    return _TOO_DEEP if text.startswith("Excessive depth") else f"not XML: {text}"


def _line(element: etree._Element) -> int:
    line: Any = element.sourceline
    return line or 0


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _value(element: etree._Element, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CodecError(_TOO_DEEP, line=_line(element))
    if not len(element) and not element.attrib:
        return element.text or ""
    result: dict[str, Any] = {}
    for name, text in element.attrib.items():
        key = "_" + _local(name)
        if key not in result or not str(name).startswith("{"):  # an attribute without a prefix wins
            result[key] = text
    texts = [element.text or ""]
    for child in element:
        if not isinstance(child.tag, str):
            raise CodecError(f"the entity {child.text} is not resolved", line=_line(child))
        _add(result, _local(child.tag), _value(child, depth + 1))
        texts.append(child.tail or "")
    text = "".join(texts)
    if text.strip() or (text and not len(element)):
        result["_text"] = text
    return result


def _add(result: dict[str, Any], name: str, value: Any) -> None:
    if name not in result:
        result[name] = value
    elif isinstance(result[name], list):
        result[name].append(value)
    else:
        result[name] = [result[name], value]


def _element(name: Any, parent: etree._Element | None) -> etree._Element:
    try:
        return etree.Element(name) if parent is None else etree.SubElement(parent, name)
    except (ValueError, TypeError):
        raise CodecError(f"'{name}' is not a name XML allows") from None


def _fill(element: etree._Element, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CodecError(_TOO_DEEP)
    try:
        if not isinstance(value, dict):
            element.text = scalar_text(value)
            return
        for name, item in value.items():
            if name == "_text":
                element.text = scalar_text(item)
            elif isinstance(name, str) and name.startswith("_"):
                element.set(name[1:], scalar_text(item))
            else:
                for one in item if isinstance(item, list | tuple) else [item]:
                    _fill(_element(name, element), one, depth + 1)
    except (ValueError, UnicodeEncodeError) as error:
        raise CodecError(f"XML cannot hold a value under '{element.tag}': {error}") from None
