"""What ``/openapi.json`` says about the bodies that Label Studio sends.

Written by hand: the requests are read as raw bytes, once and quickly, so FastAPI has no model to
draw this from; and as wide as Label Studio is, whose fields come, go and may be null.
"""

from typing import Any

Schema = dict[str, Any]

_PROJECT: Schema = {
    "description": "Label Studio's '<id>.<created>'.",
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,18})?$"},
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    ],
    "examples": ["6.1795384361"],
}
_CONFIG: Schema = {
    "type": ["string", "null"],
    "description": "The project's labeling config.",
    "examples": [
        '<View><Image name="image" value="$image"/>'
        '<BrushLabels name="brush" toName="image"><Label value="Cat"/></BrushLabels>'
        '<KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/>'
        '</KeyPointLabels><TextArea name="phrase" toName="image"/></View>'
    ],
}
_REGION: Schema = {"type": "object", "description": "A region as the page draws it."}
# No types within a task: what cannot be used is left out, never refused, for the other tasks' sake.
_TASK: Schema = {
    "type": "object",
    "properties": {
        "id": {"examples": [24]},
        "data": {"examples": [{"image": "/data/upload/6/cat.png"}]},
    },
}


def body(schema: Schema) -> Schema:
    """The ``openapi_extra`` of a route that reads this JSON body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


SETUP = body(
    {
        "type": "object",
        "required": ["project"],
        "properties": {
            "project": _PROJECT,
            "schema": _CONFIG,
            "hostname": {"type": ["string", "null"], "examples": ["http://localhost:8080"]},
            "access_token": {"type": ["string", "null"]},
            "extra_params": {"description": "An object, its JSON text, or null."},
        },
    }
)

PREDICT = body(
    {
        "type": "object",
        "required": ["tasks", "project"],
        "properties": {
            "tasks": {"type": "array", "items": _TASK},
            "project": _PROJECT,
            "label_config": _CONFIG,
            # Anything else than an object counts as no context.
            "params": {
                "properties": {
                    "context": {
                        "description": "Null: a batch, or a task being opened. "
                        "Else what was just clicked or typed.",
                        "type": ["object", "null"],
                        "properties": {"result": {"type": ["array", "null"]}},
                    }
                },
            },
        },
    }
)

WEBHOOK = body(
    {
        "type": "object",
        "required": ["action", "project"],
        "properties": {
            "action": {"type": "string", "examples": ["ANNOTATION_CREATED"]},
            "project": {
                "anyOf": [
                    {"type": "object", "required": ["id"], "properties": {"id": _PROJECT}},
                    _PROJECT,
                ]
            },
            # Whatever else is in it is kept unread.
            "annotation": {"description": "The annotation that was created or updated."},
            "annotations": {"description": "Ids of those deleted."},
            "task": {"description": "The annotation's task."},
            "tasks": {"description": "The tasks that were created."},
        },
    }
)


def answer(description: str, schema: Schema) -> Schema:
    """A JSON answer for ``responses``."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_SENTENCE: Schema = {
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string", "description": "What is wrong and what to do."}},
}

REFUSALS: dict[int | str, Schema] = {
    400: answer("The body is not JSON.", _SENTENCE),
    401: answer("User and password, or the webhook's secret, are missing or wrong.", _SENTENCE),
    413: answer("The body is too large.", _SENTENCE),
    422: answer("The body is none that Label Studio sends.", _SENTENCE),
}

_OF_THE_API = {
    400: "The body is not text in UTF-8.",
    401: "User and password are missing or wrong.",
    403: "A page of another host asked for it.",
    404: "There is no such project, task or job.",
    409: "It cannot be done now.",
    413: "The body is too large.",
    415: "The body is not announced as JSON.",
    422: "Something that was asked for cannot be read.",
}


def refusals(*codes: int) -> dict[int | str, Schema]:
    """The ``responses`` of a route under ``/api`` that may be refused with these."""
    return {code: answer(_OF_THE_API[code], _SENTENCE) for code in codes}


SETUP_ANSWER = answer(
    "The project can be served.",
    {
        "type": "object",
        "required": ["model_version"],
        "properties": {"model_version": {"type": "string"}},
    },
)

PREDICT_ANSWER = answer(
    "One result for each task. Failures of an interactive call are told in the status line.",
    {
        "type": "object",
        "required": ["results"],
        "properties": {
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {
                        "result": {"type": "array", "items": _REGION},
                        "score": {"type": ["number", "null"]},
                        "model_version": {"type": "string"},
                    },
                },
            }
        },
    },
)

WEBHOOK_ANSWER = answer(
    "Kept; it is taken in by the worker.",
    {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string"}},
    },
)

VERSIONS_ANSWER = answer(
    "The model versions that can be had, and the one that serves.",
    {
        "type": "object",
        "required": ["versions", "model_version"],
        "properties": {
            "versions": {"type": "array", "items": {"type": "string"}},
            "model_version": {"type": "string"},
        },
    },
)

HEALTH_ANSWER = answer(
    "The server answers and its model is loaded.",
    {
        "type": "object",
        "required": ["status", "model_loaded", "model_version", "version"],
        "properties": {
            "status": {"type": "string", "examples": ["UP"]},
            "model_loaded": {"type": "boolean"},
            "model_version": {"type": "string"},
            "version": {"type": "string", "description": "Of this program."},
            "champions": {
                "type": "object",
                "description": "Projects with a version of their own.",
                "additionalProperties": {"type": "string"},
            },
            "problems": {
                "type": "array",
                "description": "Promoted versions that cannot be loaded, and why.",
                "items": {"type": "string"},
            },
        },
    },
)
