"""Who may serve a job at all, and the reason when nobody may.

Model, health and drain decide who is in a pool; the rest depends on the job and is checked for the accounts that a
policy looks at.
"""

from collections.abc import Collection, Iterable

from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import NoInstance, PlacementRequest, Why


def eligible(account: InstanceLoad, job: PlacementRequest, exclude: Collection[str]) -> bool:
    """Whether this instance may serve this job."""
    if job.kind == "context":
        return account.name not in exclude
    instance = account.instance
    return (
        job.context_tokens <= account.limit
        and account.name not in exclude
        and (not job.lora or job.lora in instance.loras)
        and (not instance.tenant_classes or job.tenant_class in instance.tenant_classes)
    )


def eligible_among(
    accounts: Iterable[InstanceLoad], job: PlacementRequest, exclude: Collection[str]
) -> list[InstanceLoad]:
    """Those of the accounts that may serve this job: `eligible` for each, with what is the same for all asked once."""
    if job.kind == "context":
        return [a for a in accounts if a.name not in exclude]
    tokens, lora, tenant = job.context_tokens, job.lora, job.tenant_class
    return [
        a
        for a in accounts
        if tokens <= a.limit
        and (not a.tenant_classes or tenant in a.tenant_classes)
        and (not exclude or a.name not in exclude)
        and (not lora or lora in a.instance.loras)
    ]


def explain(accounts: Iterable[InstanceLoad], job: PlacementRequest, exclude: Collection[str]) -> NoInstance:
    """Why none of these serving instances is eligible: the filter that the last of them fell to, in a fixed order."""
    left = list(accounts)
    if not left:
        return NoInstance(Why.NONE_SERVING, f"no instance of {job.model!r} is serving")
    if job.kind == "generate":
        fit = [a for a in left if job.context_tokens <= a.instance.max_context]
        if not fit:
            longest = max(a.instance.max_context for a in left)
            return NoInstance(
                Why.CONTEXT_TOO_LONG,
                # The beginning is OpenAI's: clients know the error by it.
                f"Input tokens exceed the configured limit of {max(0, longest - job.max_tokens)} tokens: "
                f"prompt ({len(job.prompt_ids)}) and answer ({job.max_tokens}) need {job.context_tokens} tokens; "
                f"the longest context of {job.model!r} is {longest}",
            )
        left = [a for a in fit if job.context_tokens <= a.limit]
        if not left:
            room = int(max(a.limit for a in fit))
            return NoInstance(
                Why.NO_KV_ROOM, f"the job needs {job.context_tokens} tokens of KV cache; the largest holds {room}"
            )
        if job.lora:
            left = [a for a in left if job.lora in a.instance.loras]
            if not left:
                return NoInstance(Why.NO_LORA, f"no serving instance has the LoRA {job.lora!r}")
        left = [a for a in left if not a.instance.tenant_classes or job.tenant_class in a.instance.tenant_classes]
        if not left:
            return NoInstance(Why.TENANT_CLASS, f"no serving instance takes the tenant class {job.tenant_class!r}")
    names = ", ".join(sorted(a.name for a in left if a.name in exclude)[:5])
    return NoInstance(Why.ALL_FAILED, f"every instance that could serve this has failed it already: {names}")
