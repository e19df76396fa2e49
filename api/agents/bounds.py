"""How long, how many, how large: the limits of everything in a definition, and the forms of its names."""

import re
from typing import Final

DEFINITION_BYTES_MAX: Final = 224 * 1024
"""Of a whole definition, as compact JSON; it fits the body of a call with room to spare."""
DEPTH_MAX: Final = 64
"""Of arrays and objects within each other."""
FAULTS_MAX: Final = 200
"""Faults that are told; who has made more has read enough."""

TEXT_BYTES_MAX: Final = 32 * 1024
"""Of instructions, greetings and bodies."""
LINE_BYTES_MAX: Final = 4 * 1024
"""Of descriptions, conditions, spoken lines, header values."""
URL_BYTES_MAX: Final = 8 * 1024
NAME_CHARACTERS_MAX: Final = 64
"""Of what the model calls by name: providers take no more."""
FOREIGN_NAME_CHARACTERS_MAX: Final = 128
"""Of names that the operator or an MCP server has given."""
MODEL_CHARACTERS_MAX: Final = 200
SPEAKER_CHARACTERS_MAX: Final = 64
RESOLUTION_CHARACTERS_MAX: Final = 200
VALUE_CHARACTERS_MAX: Final = 200

CONTEXT_TOKENS_MIN: Final = 256
CONTEXT_TOKENS_MAX: Final = 10_000_000
OUTPUT_TOKENS_MIN: Final = 1
OUTPUT_TOKENS_MAX: Final = 1_000_000
TURN_SECONDS_MIN: Final = 1
TURN_SECONDS_MAX: Final = 3_600
ITERATIONS_MIN: Final = 1
ITERATIONS_MAX: Final = 64
HOPS_MIN: Final = 1
HOPS_MAX: Final = 16
APPROVAL_SECONDS_MIN: Final = 1
APPROVAL_SECONDS_MAX: Final = 90 * 24 * 3_600
IDLE_SECONDS_MIN: Final = 60
IDLE_SECONDS_MAX: Final = 366 * 24 * 3_600
TOOL_SECONDS_MIN: Final = 0.1
TOOL_SECONDS_MAX: Final = 600
TEMPERATURE_MIN: Final = 0
TEMPERATURE_MAX: Final = 2

NODES_MAX: Final = 100
TOOLS_MAX: Final = 128
OFFERED_MAX: Final = 128
"""Tools and transitions of one node together: what one model call may offer."""
TRANSITIONS_MAX: Final = 32
VARIABLES_MAX: Final = 32
"""Learned in one node."""
VALUES_MAX: Final = 100
FIELDS_MAX: Final = 64
"""Header fields or query parameters of one tool."""

SCHEMA_BYTES_MAX: Final = 32 * 1024

MODEL: Final = r"[a-z0-9][a-z0-9_-]{0,31}:[\x21-\x7e]+"
NAME: Final = rf"[a-zA-Z0-9_-]{{1,{NAME_CHARACTERS_MAX}}}"
"""What every provider takes as the name of a tool; nodes are named alike."""
FOREIGN_NAME: Final = rf"[a-zA-Z0-9_./:-]{{1,{FOREIGN_NAME_CHARACTERS_MAX}}}"
IDENTIFIER: Final = rf"[a-zA-Z_][a-zA-Z0-9_]{{0,{NAME_CHARACTERS_MAX - 1}}}"
FIELD_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
"""The name of a header field (RFC 9110 5.6.2)."""
COST: Final = r"[0-9]{1,9}(\.[0-9]{1,12})?"
JSON_POINTER: Final = r"(/([^~/]|~[01])*)*"
"""RFC 6901."""

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NOT_STORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")

HTTP_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
FORBIDDEN_FIELDS: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Header fields that belong to whoever makes the request."""

RESERVED_NAMES: Final = frozenset(("arguments", "context", "secrets", "variables"))
"""What templates see by these names; no variable can be called so."""
