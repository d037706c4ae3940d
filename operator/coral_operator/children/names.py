"""Names of children: legal, short enough, and different wherever their origins are."""

from __future__ import annotations

import hashlib
import re

MAX_NAME = 63
"""Longest DNS label (RFC 1123); it bounds names of Services and values of labels."""

_LONGEST_SUFFIX = len("-leader")


def dns_name(text: str, *, limit: int = MAX_NAME) -> str:
    """Return ``text`` if it is a DNS label that starts with a letter, else one derived from it.

    Parameters
    ----------
    text
        Any name.
    limit
        Longest allowed result, in characters; at least 12.

    Returns
    -------
    str
        A derived name ends in a digest of ``text``, so that two texts do not meet in one name.
    """
    if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", text) and len(text) <= limit:
        return text
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not cleaned[:1].isalpha():
        cleaned = f"m-{cleaned}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{cleaned[: limit - len(digest) - 1].rstrip('-')}-{digest}"


def instance_label(instance_name: str) -> str:
    """Return the label value, and the stem of all names, of a serving instance."""
    return dns_name(instance_name, limit=MAX_NAME - _LONGEST_SUFFIX)


def deployment_name(instance_name: str, stage: int) -> str:
    """Return the name of the Deployment of one stage of an instance."""
    return f"{instance_label(instance_name)}-s{stage}"


def leader_service_name(instance_name: str) -> str:
    """Return the name of the headless Service in front of stage 0 of an instance."""
    return f"{instance_label(instance_name)}-leader"
