"""One contract for NVML: the fake, NVIDIA's binding over a stand-in driver, and the real library where a GPU is."""

from collections.abc import Iterator

import pynvml
import pytest

from tests.contract.gpu.driver import Card, Driver, loaded
from worker.gpu import Device, Nvml, NvmlAbsent, Vitals, choose, pin
from worker.gpu_fake import FakeNvml
from worker.gpu_nvml import SystemNvml
from worker.gpu_watch import GpuWatch

HOPPER = Device("GPU-aaaa1111-0000", 0, "NVIDIA H100 80GB HBM3", 85_520_809_984, 90)


def card() -> Card:
    return Card(HOPPER.uuid.encode(), HOPPER.name.encode())


@pytest.fixture(params=["fake", "binding", pytest.param("real", marks=pytest.mark.gpu)])
def nvml(request: pytest.FixtureRequest) -> Iterator[Nvml]:
    if request.param == "fake":
        yield FakeNvml(HOPPER)
    elif request.param == "binding":
        with loaded(Driver(card())):
            yield SystemNvml()
    else:
        real = SystemNvml()
        try:
            if not real.devices():
                pytest.skip("NVML shows no GPU on this machine")
        except NvmlAbsent as absent:
            pytest.skip(f"there is no NVIDIA GPU on this machine: {absent}")
        yield real


def test_every_device_can_be_pinned_by_what_it_is_called(nvml: Nvml) -> None:
    devices = nvml.devices()
    for device in devices:
        assert device.uuid.startswith(("GPU-", "MIG-"))
        assert bool(device.mig) == device.uuid.startswith("MIG-")
        assert device.memory_bytes > 1 << 30
        assert 50 <= device.sm < 200
        assert device.name
        assert choose(devices, device.uuid, needed=True) == (device,)
        assert pin([device])["CUDA_VISIBLE_DEVICES"] == device.uuid
    assert len({device.uuid for device in devices}) == len(devices)
    assert nvml.devices() == devices


def test_vitals_can_be_read_again_and_again(nvml: Nvml) -> None:
    for device in nvml.devices():
        for _ in range(3):
            vitals = nvml.vitals(device.uuid)
            assert vitals.lost == ""
            assert vitals.uncorrected_ecc is None or vitals.uncorrected_ecc >= 0


def test_a_device_that_is_not_there_is_lost(nvml: Nvml) -> None:
    assert nvml.vitals("GPU-00000000-0000-0000-0000-000000000000").lost


def test_nothing_happened_before_one_listened(nvml: Nvml) -> None:
    uuids = [device.uuid for device in nvml.devices()]
    assert list(nvml.xids(uuids)) == []
    assert list(nvml.xids(uuids)) == []


def test_the_watch_runs_and_ends_by_itself(nvml: Nvml) -> None:
    watch = GpuWatch(nvml, tuple(nvml.devices()))
    watch.look()
    assert watch.health().sound
    watch.start()
    watch.stop()


# --- what only a driver that obeys can show ------------------------------------------------------------------------


def test_troubles_of_a_card_are_read_from_nvml() -> None:
    ill = card()
    ill.ecc, ill.remapped = 3, (1, 2, 1, 1)
    ill.clocks = pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
    with loaded(Driver(ill)):
        assert SystemNvml().vitals(HOPPER.uuid) == Vitals(3, True, True, True, True)
    ill.clocks = pynvml.nvmlClocksEventReasonGpuIdle | pynvml.nvmlClocksEventReasonSwPowerCap
    with loaded(Driver(ill)):
        assert not SystemNvml().vitals(HOPPER.uuid).thermal_slowdown


def test_a_card_without_ecc_and_mig_is_a_healthy_card() -> None:
    plain = card()
    plain.ecc = plain.remapped = plain.mig = None
    with loaded(Driver(plain)):
        assert SystemNvml().devices() == [HOPPER]
        assert SystemNvml().vitals(HOPPER.uuid) == Vitals()


def test_a_lost_gpu_is_told_in_nvmls_words() -> None:
    gone = card()
    gone.lost = True
    with loaded(Driver(gone)):
        assert SystemNvml().vitals(HOPPER.uuid) == Vitals(lost="GPU is lost")


def test_xids_are_told_once() -> None:
    driver = Driver(card())
    with loaded(driver):
        nvml = SystemNvml()
        assert nvml.xids([HOPPER.uuid]) == []
        assert driver.registered == {HOPPER.uuid.encode()}
        driver.xids = [94, 79]
        assert nvml.xids([HOPPER.uuid]) == [94, 79]
        assert nvml.xids([HOPPER.uuid]) == []


def test_a_gpu_in_mig_mode_is_its_slices() -> None:
    slices = [Card(f"MIG-{n}".encode(), b"NVIDIA A100-SXM4-80GB MIG 1g.10gb", 10_200_547_328) for n in "ab"]
    whole = Card(
        b"GPU-w", b"NVIDIA A100-SXM4-80GB", capability=(8, 0), mig=(1, 1), ecc=4, slices=[slices[0], None, slices[1]]
    )
    driver = Driver(card(), whole)
    with loaded(driver):
        nvml = SystemNvml()
        shown = nvml.devices()
        assert [(device.uuid, device.index, device.sm, device.mig) for device in shown] == [
            (HOPPER.uuid, 0, 90, ""),
            ("MIG-a", 1, 80, "1g.10gb"),
            ("MIG-b", 1, 80, "1g.10gb"),
        ]
        assert nvml.vitals("MIG-b").uncorrected_ecc == 4, "a slice is as well as its GPU"
        nvml.xids(["MIG-a", "MIG-b"])
        assert driver.registered == {b"GPU-w"}


def test_a_machine_without_the_library_says_so() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

    with loaded(Nothing()), pytest.raises(NvmlAbsent, match="NVML is absent: Function Not Found"):
        SystemNvml().devices()


def test_a_machine_without_the_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    with pytest.raises(NvmlAbsent, match="nvidia-ml-py is not installed"):
        SystemNvml().devices()
