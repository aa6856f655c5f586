# SPDX-License-Identifier: GPL-2.0-or-later
"""A line of syslog, held against the grammar of RFC 5424, 6, with structured data; stricter in that no value
may have a control character."""
import re

SD_NAME = r"[!#-<>-\\^-~]{1,32}"
LINE = re.compile(
    r'<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) '
    r'(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) '
    r'(?P<sd>-|(?:\[' + SD_NAME + r'(?: ' + SD_NAME + r'="(?:[^"\\\]\x00-\x1f\x7f]|\\["\\\]])*")*\])+)'
    r'(?: \ufeff(?P<msg>[^\x00-\x1f\x7f]*))?')
PARAM = re.compile(r' (' + SD_NAME + r')="((?:[^"\\\]]|\\.)*)"')


def parsed(line):
    """Its parts, and params of the structured data; None if it is no such line."""
    m = LINE.fullmatch(line)
    if not m or int(m["pri"]) > 191:
        return None
    out = m.groupdict()
    out["params"] = {k: re.sub(r"\\(.)", r"\1", v) for k, v in PARAM.findall(out["sd"])}
    return out
