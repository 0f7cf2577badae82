"""matplotlib's SVG made fit for a page (no style attribute, ids of its own) and for a file (its font inside)."""

import base64
import io
import re
from xml.etree import ElementTree as ET

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TEXT = f"{{{_SVG}}}text"

#: Declarations of a style that SVG also takes as attributes; a page's policy forbids `style`.
_KEPT = {
    *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"),
    *("stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "opacity", "font-size"),
    *("font-weight", "font-style", "text-anchor"),
}
#: Attributes that hold places.
_PLACES = {"d", "x", "y", "width", "height", "transform", "stroke-width", "font-size"}
#: What SVG assumes anyway.
_ASSUMED = {("stroke-dashoffset", "0"), ("stroke-linecap", "butt"), ("font-style", "normal")}


def inlined(content: str, name: str, title: str, text: str) -> str:
    """Return matplotlib's SVG for the middle of a page.

    Colours become attributes, which a style sheet overrules in the dark; every id begins with `name`.
    """
    root = _parsed(content)
    for each in root.iter():
        _as_attributes(each)
        for key in ("id", "clip-path", f"{{{_XLINK}}}href"):
            if key in each.attrib:
                each.set(key, re.sub(r"^(url\(#|#|)", rf"\g<1>{name}-", each.get(key, "")))
        if f"{{{_XLINK}}}href" in each.attrib:
            each.set("href", each.attrib.pop(f"{{{_XLINK}}}href"))
    _rounded(root)
    used = set(re.findall(r"#([\w.-]+)", ET.tostring(root, encoding="unicode")))
    for each in root.iter():
        if each.get("id") not in used:
            each.attrib.pop("id", None)
    _name(root, name, title, text)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    return _written(root)


def embedded(content: str, title: str, text: str) -> str:
    """Return matplotlib's SVG for a file, with the signs that it uses of its font."""
    root = _parsed(content)
    signs = "".join("".join(each.itertext()) for each in root.iter(_TEXT))
    _name(root, "chart", title, text)
    style = root.find(f"{{{_SVG}}}defs/{{{_SVG}}}style")
    if style is not None and signs:
        source = f"data:font/woff;base64,{base64.b64encode(_font(signs)).decode()}"
        style.text = (
            f"@font-face{{font-family:'DejaVu Sans';src:url({source}) format('woff')}}{style.text}"
        )
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _written(root) + "\n"


def _parsed(content: str) -> ET.Element:
    root = ET.fromstring(content)  # noqa: S314  matplotlib wrote it a moment ago
    metadata = root.find(f"{{{_SVG}}}metadata")
    if metadata is not None:
        root.remove(metadata)
    return root


def _name(root: ET.Element, name: str, title: str, text: str) -> None:
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        node = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        node.text = words
        root.insert(place, node)


def _as_attributes(each: ET.Element) -> None:
    """Turn a style into attributes; fonts are the page's."""
    for declaration in each.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font" and (size := re.search(r"([\d.]+)px", value)):
            key, value = "font-size", size[1]
        if key in _KEPT and (key, value) not in _ASSUMED:
            each.set(key, value.removesuffix("px"))
    if each.tag == f"{{{_SVG}}}style":
        each.clear()


def _rounded(root: ET.Element) -> None:
    """Round places to hundredths of a point, and drop turns by nothing."""
    for each in root.iter():
        if each.get("transform", "").startswith("rotate(-0 "):
            del each.attrib["transform"]
        for key in _PLACES & each.attrib.keys():
            each.set(key, " ".join(re.sub(r"\d+\.\d+", _short, each.attrib[key]).split()))


def _short(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _written(root: ET.Element) -> str:
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    text = ET.tostring(root, encoding="unicode")
    # What is left between elements is white space.
    return re.sub(r"<(defs|g|style)\s*/>", "", re.sub(r">\s+<", "><", text))


def _font(signs: str) -> bytes:
    """Return the part of matplotlib's font that draws some signs, as WOFF."""
    from fontTools import subset  # noqa: PLC0415  matplotlib brings it
    from fontTools.ttLib import TTFont  # noqa: PLC0415
    from matplotlib.font_manager import findfont  # noqa: PLC0415

    font = TTFont(findfont("DejaVu Sans"), recalcTimestamp=False)
    options = subset.Options(layout_features=[], notdef_outline=True)
    # Labels are set without ligatures; these tables take most of the time.
    for table in ("GSUB", "GPOS", "GDEF", "FFTM"):
        if table in font:
            del font[table]
    chosen = subset.Subsetter(options)
    chosen.populate(text=signs)
    chosen.subset(font)
    font.flavor = "woff"
    kept = io.BytesIO()
    font.save(kept)
    return kept.getvalue()
