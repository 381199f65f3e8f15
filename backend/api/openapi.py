"""What ``/openapi.json`` says about the routes that Label Studio calls, and their answers.

Their requests are parsed once, by orjson, so FastAPI does not see their form. The models of
bodies only describe it: as wide as Label Studio is, whose fields come, go and may be null.
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

Schema = dict[str, Any]

KEY_PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,18})?$"
ProjectKey = (
    Annotated[str, Field(pattern=KEY_PATTERN)] | Annotated[int, Field(ge=0, lt=10**18, strict=True)]
)
_KEY_SCHEMA = TypeAdapter(ProjectKey).json_schema()
_KEY: dict[str, Any] = {
    "description": "Label Studio's '<id>.<created>'.",
    "examples": ["6.1795384361"],
}
_CONFIG: dict[str, Any] = {
    "description": "The project's labeling config.",
    "examples": [
        '<View><Image name="image" value="$image"/>'
        '<BrushLabels name="brush" toName="image"><Label value="Cat"/></BrushLabels>'
        '<KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/>'
        '</KeyPointLabels><TextArea name="phrase" toName="image"/></View>'
    ],
}
# Inside a task nothing has a type: what cannot be used is ignored, so that it does not refuse the
# other tasks of the request.
_TASK: Schema = {
    "type": "object",
    "properties": {
        "id": {"examples": [24]},
        "data": {"examples": [{"image": "/data/upload/6/cat.png"}]},
    },
}
# A context that is not an object counts as none.
_PARAMS: Schema = {
    "properties": {
        "context": {
            "description": "Null: several tasks, or a task that is being opened. Otherwise the "
            "regions that were just clicked or typed.",
            "type": ["object", "null"],
            "properties": {"result": {"type": ["array", "null"]}},
        }
    }
}


class SetupBody(BaseModel):
    """A project connects."""

    project: ProjectKey = Field(**_KEY)
    config: str | None = Field(None, alias="schema", **_CONFIG)
    hostname: str | None = Field(None, examples=["http://localhost:8080"])
    access_token: str | None = None


class PredictBody(BaseModel):
    """Tasks that need a mask."""

    tasks: list[Any] = Field(json_schema_extra={"items": _TASK})
    project: ProjectKey = Field(**_KEY)
    label_config: str | None = Field(None, **_CONFIG)
    params: Any = Field(None, json_schema_extra=_PARAMS)


class WebhookBody(BaseModel):
    """An event. Its other fields are stored without being read."""

    action: str = Field(examples=["ANNOTATION_CREATED"])
    project: Any = Field(
        json_schema_extra={
            "anyOf": [
                {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": _KEY_SCHEMA},
                },
                _KEY_SCHEMA,
            ]
        }
    )
    annotation: Any = Field(None, description="The annotation that was created or updated.")
    annotations: Any = Field(None, description="Ids of deleted annotations.")
    task: Any = Field(None, description="The task of the annotation.")
    tasks: Any = Field(None, description="The tasks that were created.")


class SetupAnswer(BaseModel):
    """The version that serves the project."""

    model_version: str


class PredictResult(BaseModel):
    """The result for one task."""

    result: list[dict[str, Any]] = Field(description="Regions as the page draws them.")
    score: float | None = None
    model_version: str = ""


class PredictAnswer(BaseModel):
    """One entry for each task. An interactive call that fails says so in the status line.

    In a batch, an empty list in a task's place means: not now, ask again.
    """

    results: list[PredictResult | list[PredictResult]]


class WebhookAnswer(BaseModel):
    """The event is stored; the worker processes it."""

    status: str


class VersionsAnswer(BaseModel):
    """The available model versions, and the one that serves."""

    versions: list[str]
    model_version: str


class HealthAnswer(BaseModel):
    """The server answers and its model is loaded."""

    status: str = Field(examples=["UP"])
    model_loaded: bool
    model_version: str
    version: str = Field(description="Version of this program.")
    champions: dict[str, str] = Field({}, description="Projects with their own version.")
    problems: list[str] = Field([], description="Promoted versions that cannot be loaded, and why.")


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="What is wrong and what to do.")


def body(model: type[BaseModel]) -> Schema:
    """``openapi_extra`` of a route that parses this body itself."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def refusals(*codes: int) -> dict[int | str, Schema]:
    """``responses`` of a route that may refuse requests with these status codes."""
    return {code: {"description": _REASONS[code], "model": Refusal} for code in codes}


_REASONS = {
    400: "The body is not JSON in UTF-8.",
    401: "User and password, or the webhook's secret, are missing or wrong.",
    403: "The request came from a page of another host.",
    404: "There is no such project, task or job.",
    408: "The body did not arrive in time.",
    409: "It cannot be done now.",
    413: "The body is too large.",
    415: "The Content-Type is not application/json.",
    421: "The request is for a host name that is not this backend's.",
    422: "The request is not valid.",
    429: "The same was asked for too often.",
    503: "Too many large requests at a time, or a file of secrets cannot be read.",
}
