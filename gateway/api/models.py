"""`/v1/models`: the models of the fleet, each with its adapters, `rag:<store>` for each knowledge store, and the assistants."""

from typing import Annotated, Literal, NotRequired

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response
from typing_extensions import TypedDict

from gateway.api.dependencies import ContainerDep, RequiredScope, TenantDep
from gateway.api.openapi import documented
from gateway.api.replies import JsonReply
from gateway.assistants.directory import PREFIX
from gateway.container import Container
from gateway.errors import NotFound
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant


class Abilities(TypedDict):
    """What a model can be asked to write, and to read beside text."""

    tools: bool
    structured_outputs: bool
    images: bool
    audio: bool


class AssistantFacts(TypedDict):
    """What an assistant is for. knowledge: whether it answers from stores."""

    kind: str
    description: str
    example: str
    knowledge: bool


class ModelObject(TypedDict):
    """A model. Extensions: `type` is what it can be asked for, `abilities` what a chat with it can have, `assistant` what it is
    for where it is one."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    type: Literal["chat", "embedding"]
    abilities: NotRequired[Abilities]
    assistant: NotRequired[AssistantFacts]


class ModelsBody(TypedDict):
    """All models."""

    object: Literal["list"]
    data: list[ModelObject]


router = APIRouter(tags=["OpenAI"], dependencies=[Depends(RequiredScope(*Scope))])


@router.get(
    "/v1/models",
    summary="The models of the fleet, `rag:<store>` for each knowledge store, and the assistants",
    **documented(ModelsBody),
)
async def models(tenant: TenantDep, parts: ContainerDep) -> Response:
    """All that the tenant can ask."""
    body: ModelsBody = {"object": "list", "data": list((await _models(parts, tenant)).values())}
    return JsonReply(body)


@router.get("/v1/models/{model:path}", summary="One model", **documented(ModelObject, 404))
async def model(model: Annotated[str, Path(max_length=512)], tenant: TenantDep, parts: ContainerDep) -> Response:
    """One of them."""
    found = (await _models(parts, tenant)).get(model)
    if found is None:
        raise NotFound(f"The model '{model[:512]}' does not exist.", param="model", code="model_not_found")
    return JsonReply(found)


async def _models(parts: Container, tenant: Tenant) -> dict[str, ModelObject]:
    stores = await parts.knowledge.models(tenant)
    found: dict[str, ModelObject] = {}
    for name in parts.models.embedding:
        found[name] = _model(name, parts.started_at, "embedding")
    for name, created in stores.items():
        found[name] = _model(name, created, "chat")
    for name in (*parts.models.generating, *parts.models.adapted):
        found[name] = _model(name, parts.started_at, "chat")
    assistants = []
    for profile in parts.generation.directory.of(tenant).values():
        assistants.append(name := f"{PREFIX}{profile.name}")
        found[name] = _model(name, parts.started_at, "chat")
        found[name]["assistant"] = {
            "kind": profile.kind.value,
            "description": profile.description,
            "example": profile.example,
            "knowledge": profile.knowledge,
        }
    order = [*parts.models.generating, *parts.models.adapted, *stores, *assistants, *parts.models.embedding]
    return {name: found[name] for name in order}


def _model(name: str, created: int, kind: Literal["chat", "embedding"]) -> ModelObject:
    made: ModelObject = {"id": name, "object": "model", "created": created, "owned_by": "ragfleet", "type": kind}
    if kind == "chat":
        made["abilities"] = {"tools": True, "structured_outputs": True, "images": False, "audio": False}
    return made
