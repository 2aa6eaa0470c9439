"""Which GPU is ours, and how it is in words."""

from pathlib import Path

import pytest

from worker import gpu, host, meta, triton_health
from worker.gpu import Device, Health, UnknownGpu, Vitals
from worker.gpu_fake import FakeNvml
from worker.gpu_watch import GpuWatch
from worker.launch import NotRunnableError, find_gpus
from worker.load import LoadReport, SteadyWords
from worker.settings import parse
from worker.state import WorkerPhase
from worker.triton_health import Pulse

ONE = Device("GPU-aaaa1111", 0, "NVIDIA H100 80GB HBM3", 85_520_809_984, 90)
TWO = Device("GPU-bbbb2222", 1, "NVIDIA H100 80GB HBM3", 85_520_809_984, 90)
SLICE = Device("MIG-cccc3333", 0, "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 10_200_547_328, 80, mig="1g.10gb")


def settings(*more: str) -> host.WorkerSettings:
    return parse(["--name=host-a", "--http-port=8101", "--flavour=tensorrtllm", *more], {})


# --- which one -----------------------------------------------------------------------------------------------------


def test_the_only_gpu_is_taken_by_itself() -> None:
    assert gpu.choose([ONE], "", needed=True) == (ONE,)
    assert gpu.choose([ONE], "", needed=False) == (ONE,)


def test_of_several_one_must_be_named() -> None:
    with pytest.raises(UnknownGpu, match=r"2 GPUs here .*GPU-aaaa1111.*--gpu=UUID, or .*--all-gpus"):
        gpu.choose([ONE, TWO], "", needed=True)
    assert gpu.choose([ONE, TWO], "", needed=False) == ()


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("GPU-bbbb2222", [TWO]), ("GPU-bb", [TWO]), ("1", [TWO]), ("1,0", [TWO, ONE]), ("none", [])]
)
def test_a_gpu_is_named_by_uuid_or_index(wanted: str, chosen: list[Device]) -> None:
    assert list(gpu.choose([ONE, TWO], wanted, needed=True)) == chosen


@pytest.mark.parametrize(
    ("devices", "wanted", "message"),
    [
        ([ONE, TWO], "7", "'7' is none of the GPUs here"),
        ([ONE, TWO], "GPU-", "matches several"),
        ([], "0", "there is none"),
        ([ONE, TWO], "0,0", "twice"),
        ([SLICE, ONE], "MIG-c,GPU-a", "works alone"),
    ],
)
def test_a_name_that_is_no_gpu_says_which_there_are(devices: list[Device], wanted: str, message: str) -> None:
    with pytest.raises(UnknownGpu, match=message):
        gpu.choose(devices, wanted, needed=True)


def test_what_the_environment_hides_is_not_taken() -> None:
    assert gpu.visible([ONE, TWO], None) == [ONE, TWO]
    assert gpu.visible([ONE, TWO], "") == []
    assert gpu.visible([ONE, TWO], "1") == [TWO]
    assert gpu.visible([ONE, TWO], "GPU-bb, GPU-aa") == [TWO, ONE]
    assert gpu.visible([ONE, TWO], "9,0") == []


def test_a_pinned_process_sees_its_gpu_only_and_consul_tells_which() -> None:
    assert gpu.pin([SLICE])["CUDA_VISIBLE_DEVICES"] == "MIG-cccc3333"
    assert gpu.pin([ONE, TWO])["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa1111,GPU-bbbb2222"
    assert gpu.pin([]) == {}
    told = meta.describe(settings(), {}, {}, None, gpus=[ONE, TWO])
    assert told["device"] == "gpu"
    assert told["gpu"] == "2 × NVIDIA H100 80GB HBM3"
    assert told["gpu_memory_bytes"] == str(2 * ONE.memory_bytes)
    assert told["sm"] == "9.0"
    assert "mig" not in told
    assert gpu.describe([SLICE])["mig"] == "1g.10gb"
    assert "gpu" not in meta.describe(settings(), {}, {}, None)


def test_an_absent_nvml_is_a_state_unless_a_gpu_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.launch.NVIDIA_DEVICE", Path("/nowhere"))
    absent = FakeNvml(absent="NVML is absent: no driver")
    assert find_gpus(settings(), absent, needed=False) == ()
    with pytest.raises(NotRunnableError, match=r"needs a GPU and there is none here .*no driver.*--gpus all"):
        find_gpus(settings(), absent, needed=True)
    with pytest.raises(NotRunnableError, match="--gpu=0 cannot be found: NVML is absent"):
        find_gpus(settings("--gpu=0"), absent, needed=False)
    assert find_gpus(settings("--gpu=none"), absent, needed=True) == ()
    assert find_gpus(settings("--gpu=1"), FakeNvml(ONE, TWO), needed=True) == (TWO,)


# --- one worker for each ---------------------------------------------------------------------------------------------


def test_each_gpu_gets_a_worker_with_its_own_name_and_ports() -> None:
    argv = ["--name=host-a", "--http-port=8101", "--flavour=tensorrtllm", "--all-gpus"]
    workers = host.children(parse(argv, {}), argv, FakeNvml(ONE, TWO), program=())
    made = [parse(child.argv, {}) for child in workers]
    assert [
        (child.name, one.name, one.http_port, one.gpu, one.all_gpus) for child, one in zip(workers, made, strict=True)
    ] == [
        ("host-a-0", "host-a-0", 8101, "GPU-aaaa1111", 0),
        ("host-a-1", "host-a-1", 8111, "GPU-bbbb2222", 0),
    ]
    assert {one.flavour for one in made} == {"tensorrtllm"}
    together = host.children(parse([*argv, "--all-gpus=2"], {}), argv, FakeNvml(ONE, TWO), program=())
    assert [parse(child.argv, {}).gpu for child in together] == ["GPU-aaaa1111,GPU-bbbb2222"]


@pytest.mark.parametrize(
    ("nvml", "size", "message"),
    [
        (FakeNvml(), 1, "NVML shows no GPU"),
        (FakeNvml(absent="NVML is absent: no driver"), 1, "no driver"),
        (FakeNvml(ONE, TWO, ONE), 2, "does not divide the 3 GPUs"),
        (FakeNvml(SLICE, SLICE), 2, "MIG slices work alone"),
    ],
)
def test_gpus_that_cannot_be_shared_out(nvml: FakeNvml, size: int, message: str) -> None:
    with pytest.raises(NotRunnableError, match=message):
        host.children(settings(f"--all-gpus={size}"), [], nvml)


# --- how it is -------------------------------------------------------------------------------------------------------

HEALTH: dict[str, tuple[Vitals, list[int], bool, str]] = {
    "nothing": (Vitals(uncorrected_ecc=0), [], True, ""),
    "a card that tells nothing": (Vitals(), [], True, ""),
    "heat": (Vitals(thermal_slowdown=True), [], True, "slowed down by heat"),
    "the power supply": (Vitals(power_brake=True), [], True, "slowed down by the power supply"),
    "ECC": (Vitals(uncorrected_ecc=2), [], True, "uncorrectable ECC errors: 2"),
    "a spare row": (Vitals(remap_pending=True), [], True, "a row of memory waits for the next reset to be remapped"),
    "no spare row": (Vitals(remap_failed=True), [], False, "faulty memory has no spare row left: replace the card"),
    "gone": (Vitals(lost="GPU is lost"), [], False, "the GPU is lost: GPU is lost"),
    "the program's own fault": (Vitals(), [13, 31, 43], True, ""),
    "a contained error": (Vitals(), [94], True, "Xid 94: a contained ECC error"),
    "off the bus": (Vitals(), [79, 79], False, "Xid 79: the GPU has fallen off the bus"),
    "an Xid that is in no list": (Vitals(), [999], False, "Xid 999: see NVIDIA’s Xid catalogue"),
    "both": (Vitals(thermal_slowdown=True), [48], False, "Xid 48: an uncorrectable ECC error; slowed down by heat"),
}


@pytest.mark.parametrize("case", HEALTH)
def test_health_in_words(case: str) -> None:
    vitals, xids, sound, words = HEALTH[case]
    assert gpu.judge(vitals, xids) == Health(sound, words)


def pulse(health: Health, phase: WorkerPhase = WorkerPhase.READY) -> Pulse:
    return Pulse(phase=phase, answered=100.0, ready=True, load=LoadReport(0, 1, 8), gpu=health)


@pytest.mark.parametrize(
    ("health", "phase", "status", "words"),
    [
        (Health(), WorkerPhase.READY, "passing", "queue 0, running 1/8"),
        (
            Health(True, "slowed down by heat"),
            WorkerPhase.READY,
            "passing",
            "queue 0, running 1/8; gpu: slowed down by heat",
        ),
        (Health(False, "Xid 79: gone"), WorkerPhase.READY, "warning", "gpu: Xid 79: gone; queue 0, running 1/8"),
        (
            Health(False, "Xid 79: gone"),
            WorkerPhase.DRAINING,
            "passing",
            "draining: gpu: Xid 79: gone; queue 0, running 1/8",
        ),
    ],
)
def test_a_gpu_that_is_not_sound_is_a_warning_in_consul(
    health: Health, phase: WorkerPhase, status: str, words: str
) -> None:
    beat = triton_health.judge(pulse(health, phase), SteadyWords(), 100.5)
    assert (beat.status, beat.words) == (status, words)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_watch_tells_the_latest_look_and_remembers_xids() -> None:
    nvml, clock = FakeNvml(ONE, TWO), Clock()
    watch = GpuWatch(nvml, (ONE, TWO), clock)
    assert watch.health() == Health()
    watch.look()
    nvml.state[TWO.uuid] = Vitals(thermal_slowdown=True)
    nvml.pending = [79]
    watch.look()
    nvml.state.clear()
    watch.look()
    assert watch.health() == Health(False, "Xid 79: the GPU has fallen off the bus")
    nvml.gpus.remove(TWO)
    watch.look()
    assert watch.health().words == "the GPU is lost: Not Found; Xid 79: the GPU has fallen off the bus"


def test_a_silent_nvml_is_told_and_takes_nothing_out() -> None:
    clock = Clock()
    watch = GpuWatch(FakeNvml(ONE), (ONE,), clock)
    watch.look()
    clock.now = 29.0
    assert watch.health().words == ""
    clock.now = 30.0
    assert watch.health() == Health(True, "NVML does not answer")


def test_an_nvml_that_goes_away_is_told() -> None:
    nvml = FakeNvml(ONE)
    watch = GpuWatch(nvml, (ONE,), Clock())
    watch.look()
    nvml.absent = "NVML fails: Driver/library version mismatch"
    watch.look()
    assert watch.health() == Health(True, "its health is unknown: NVML fails: Driver/library version mismatch")


def test_without_gpus_there_is_nothing_to_say() -> None:
    watch = GpuWatch(FakeNvml(absent="no driver"), (), Clock())
    watch.start()
    assert watch.health() == Health()
