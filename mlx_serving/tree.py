"""The one list of child specs: what runs on a node, in which order, and how it is kept running."""

import itertools
import os
import sys
from pathlib import Path

import msgspec

from actors.control.args import ControlArgs
from actors.engine.args import EngineArgs
from actors.registry.plans import ModelPlan
from config.errors import ModelNotFound
from config.hardware import detect
from config.settings import ModelSettings, Settings
from gateway.args import GatewayArgs
from mlx_serving.entries import run_control, run_engine, run_gateway
from supervisor.spec import Backoff, ChildSpec, GroupSpec
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import Load

PROMPT_CAP_S = 0.4
CONTROL_STALL_S = 8.0  # no work of control takes long, and every new request waits for it
GATEWAY_STALL_S = 15.0
GROUP_OF_MODELS = "models"
"""The group under which models come and go."""


class Tree:
    """Builds the specs of one node from its settings."""

    def __init__(self, settings: Settings, runtime: RuntimeDirectory, http_fd: int) -> None:
        self._settings = settings
        self._runtime = runtime
        self._http_fd = http_fd
        self._numbers = itertools.count()
        self._wired_limit_bytes = detect().wired_limit_bytes
        self._configured = {model.name: model for model in settings.models}
        self._on_demand = any(model.load == "on_demand" for model in settings.models)
        supervision = settings.supervision
        self._backoff = Backoff(
            base_s=supervision.backoff_base_s,
            cap_s=supervision.backoff_cap_s,
            stable_after_s=supervision.stable_after_s,
        )
        # Cheap to start, and everyone waits for them: back within a second, however often.
        self._prompt_backoff = msgspec.structs.replace(
            self._backoff, cap_s=min(PROMPT_CAP_S, supervision.backoff_cap_s)
        )

    def root(self) -> GroupSpec:
        """The whole tree: control first, then models, gateways last; it stops the other way round.

        A model that cannot be kept running is given up, the others go on; when none is left the
        node has no work and ends with failure, so that whatever started it can act; not so where
        more models may be loaded on demand.
        """
        at_start = [model for model in self._settings.models if model.load == "at_start"]
        models = tuple(self._model(model) for model in at_start)
        return GroupSpec(
            id="root",
            children=(
                self._control(),
                GroupSpec(
                    id=GROUP_OF_MODELS,
                    children=models,
                    restart="transient",
                    significant=True,
                    auto_shutdown="all_significant",
                    stop_in_parallel=True,
                ),
                self._gateways(),
            ),
            intensity=self._settings.supervision.intensity,
            period_s=self._settings.supervision.period_s,
            auto_shutdown="any_significant",
        )

    def group(self, load: Load) -> GroupSpec:
        """The group of a model that is loaded while the server runs."""
        return self._model(self._meant(load))

    def keep(self, load: Load) -> None:
        """A model of the configuration has from now on as many engines as it was loaded with."""
        if load.alias is None and load.model in self._configured:
            self._configured[load.model] = self._meant(load)

    def configured(self, model: str) -> GroupSpec:
        """The group of a model of the configuration.

        Raises:
            ModelNotFound: there is none of this name.
        """
        if model not in self._configured:
            raise ModelNotFound(f"the configuration has no model {model!r}")
        return self._model(self._configured[model])

    def _meant(self, load: Load) -> ModelSettings:
        known = self._configured.get(load.model) if load.alias is None else None
        model = known or ModelSettings(model=load.model, alias=load.alias)
        return msgspec.structs.replace(model, replicas=load.replicas or model.replicas)

    def _control(self) -> ChildSpec:
        return ChildSpec(
            id="control",
            kind="control",
            start=run_control,
            args=self._control_args(),
            ready_within_s=30.0,
            stall_timeout_s=CONTROL_STALL_S,
            backoff=self._prompt_backoff,
            env=self._env(),
        )

    def _control_args(self) -> ControlArgs:
        models = [
            ModelPlan(
                name=model.name,
                source=_source(model),
                replicas=model.replicas,
                pinned=model.pinned,
                permanent=model.load == "at_start",
            )
            for model in self._settings.models
        ]
        return ControlArgs.of(self._settings, models, self._wired_limit_bytes)

    def _gateways(self) -> GroupSpec:
        server = self._settings.server
        return GroupSpec(
            id="gateways",
            children=tuple(self._gateway(number) for number in range(server.gateways)),
            intensity=self._settings.supervision.intensity * server.gateways,
            period_s=self._settings.supervision.period_s,
            stop_in_parallel=True,
        )

    def _gateway(self, number: int) -> ChildSpec:
        return ChildSpec(
            id=f"gateway:{number}",
            kind="gateway",
            start=run_gateway,
            args=GatewayArgs.of(self._settings, number),
            drains=True,
            ready_within_s=60.0,
            stall_timeout_s=GATEWAY_STALL_S,
            backoff=self._prompt_backoff,
            env=self._env(),
            fds={"http": self._http_fd},
        )

    def _model(self, model: ModelSettings) -> GroupSpec:
        number = next(self._numbers)
        supervision = self._settings.supervision
        return GroupSpec(
            id=f"model:{model.name}",
            children=tuple(self._engine(model, number, n) for n in range(model.replicas)),
            intensity=supervision.intensity * model.replicas,
            period_s=supervision.period_s,
            restart="temporary",
            significant=not self._on_demand,
            stop_in_parallel=True,
            labels={"model": model.name},
        )

    def _engine(self, model: ModelSettings, number: int, replica: int) -> ChildSpec:
        engine = self._settings.engine
        return ChildSpec(
            id=f"engine:{model.name}:{replica}",
            kind="engine",
            start=run_engine,
            args=self._engine_args(model, number, replica),
            labels={
                "model": model.name,
                "replica": str(replica),
                "replicas": str(model.replicas),
                "source": _source(model),
            },
            gate=False,
            finishes=True,
            ready_within_s=engine.ready_within_s,
            stall_timeout_s=engine.stall_timeout_s,
            shutdown_s=engine.shutdown_s,
            backoff=self._backoff,
            env=self._env() | engine_environment(),
        )

    def _engine_args(self, model: ModelSettings, number: int, replica: int) -> EngineArgs:
        engine = self._settings.engine
        return EngineArgs(
            source=_source(model),
            model=model.name,
            number=number,
            replica=replica,
            wired_limit_bytes=self._wired_limit_bytes,
            budget_fraction=self._settings.kv_cache.budget_fraction,
            max_concurrent=engine.max_concurrent,
            max_waiting=engine.max_waiting,
            max_context_tokens=engine.max_context_tokens,
            prefill_chunk_tokens=engine.prefill_chunk_tokens,
            kv_cache=self._settings.kv_cache,
            max_decode_stall_ms=engine.max_decode_stall_ms,
            batch_window_ms=engine.batch_window_ms,
            recycle_after_tokens=engine.recycle_after_tokens,
        )

    def _env(self) -> dict[str, str]:
        return {"PROMETHEUS_MULTIPROC_DIR": str(self._runtime.metrics)}


def _source(model: ModelSettings) -> str:
    return str(demo_folder()) if model.model == "demo" else model.model


def demo_folder() -> Path:
    """Where the built-in model lies: beside this file in a wheel, in `demo/` in a checkout."""
    here = Path(__file__).resolve().parent
    packed = here / "demo_model"
    return packed if packed.is_dir() else here.parent / "demo" / "model"


def engine_environment() -> dict[str, str]:
    """On Linux, OpenBLAS in front of the reference BLAS that mlx's CPU back end comes with: 2 to 6
    times the tokens. One thread, because a batch of small matrices gains nothing from more."""
    found = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))
    if sys.platform != "linux" or not found:
        return {}
    preload = [str(found[0]), os.environ.get("LD_PRELOAD", "")]
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "1")
    return {"LD_PRELOAD": ":".join(filter(None, preload)), "OPENBLAS_NUM_THREADS": threads}
