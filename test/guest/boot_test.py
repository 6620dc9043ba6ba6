#!/usr/bin/env python3
"""Boots the bootstrap ISO in QEMU and checks what the guest does before there is a kubelet.

usage: boot_test.py [--jobs N] [--junit FILE] ISO [NAME...]
"""
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import vm  # noqa: E402

GUEST = "guestinfo.vch.guest"
MAX_MEMORY_KIB = 10_000_000 // 1024


class Bench:
    """What the tests share: the ISO, a key, a directory."""

    def __init__(self, iso):
        self.iso = iso
        self.dir = tempfile.TemporaryDirectory(prefix="vch-guest-test-")
        self.kubelet = vm.KubeletKey(self.dir.name)

    def disk(self, name, mib=256):
        return vm.empty_disk(f"{self.dir.name}/{name}", mib)

    def boot(self, config=None, **kwargs):
        return vm.Vm(self.iso, **kwargs, config=vm.boot_config(self.kubelet, **(config or {})))


def ready_fields(guest):
    line = guest.wait_console("tether ready")
    return dict(re.findall(r'(\w+)="?([^" ]*)"?', line.split('"tether ready"')[1]))


def announces_itself_and_speaks_to_its_kubelet(bench):
    with bench.boot({"scratchUnit": 0}, disks=[bench.disk("scratch1")]) as guest:
        guest.connect_port()
        announced = guest.port_line("set")["guestinfo"][GUEST].split()
        assert announced[0] == "v1", announced
        net = guest.port_line("net")
        assert net["ip"] == [vm.GUEST_IP] and net["hostname"] == "web-0" and net["mac"] == "00:50:56:00:00:01", net
        fields = ready_fields(guest)
        memory = int(fields["memoryKiB"])
        print(f"    ready after {float(fields['uptime']):.2f} s of the kernel's time, {time.monotonic() - guest.started:.1f} s of ours; "
              f"tether {memory} KiB")
        assert memory <= MAX_MEMORY_KIB, memory
        with guest.channel(bench.kubelet) as channel:
            assert "101" in channel.status, channel.status
            assert channel.key_hash == announced[2], "the key on the wire is not the announced one"
            hello = channel.frame("hello")
            assert hello["bootId"] == announced[1] and hello["podUid"] == vm.boot_config(bench.kubelet)["podUid"], hello
            assert hello["certify"] is True, hello
            channel.send(poweroff=True)
            guest.wait_off()
        assert "Powering off" in guest.console()


def a_strangers_key_is_refused(bench):
    with tempfile.TemporaryDirectory() as other, bench.boot() as guest:
        guest.wait_console("tether ready")
        stranger = vm.KubeletKey(other)
        try:
            with guest.channel(stranger) as channel:
                assert "101" not in channel.status, channel.status
        except OSError:
            pass  # not even a handshake


def shuts_down_when_the_host_asks(bench):
    with bench.boot() as guest:
        guest.connect_port()
        guest.port_line("set")
        guest.tell(op="shutdown")
        guest.wait_off()


def shuts_down_on_the_power_button(bench):
    with bench.boot() as guest:
        guest.wait_console("tether ready")
        guest.press_power_button()
        assert "Power button pressed" in guest.console()


def tells_again_who_connects_again(bench):
    with bench.boot() as guest:
        guest.wait_console("tether ready")  # nobody listened so far
        guest.connect_port()
        first = guest.port_line("set")
        guest.disconnect_port()
        time.sleep(1)
        guest.connect_port()
        assert guest.port_line("set") == first
        guest.tell(op="nonsense")
        guest.tell(op="shutdown")
        guest.wait_off()


def keeps_its_scratch_disk_across_boots(bench):
    disk, unused = bench.disk("scratch2"), bench.disk("unused", 16)
    boots = []
    for earlier in ("false", "true"):
        with bench.boot({"scratchUnit": 1}, disks=[unused, disk]) as guest:
            fields = ready_fields(guest)
            # Its name does not matter: the kernel gives names in the order in which disks answer.
            assert fields["earlier"] == earlier and fields["scratch"].startswith("/dev/sd"), fields
            boots.append(fields["boot"])
            if earlier == "false":
                guest.press_power_button()
            else:
                guest.process.kill()  # power fails
    assert boots[0] != boots[1], boots
    with bench.boot({"scratchUnit": 1}, disks=[unused, disk]) as guest:
        assert ready_fields(guest)["earlier"] == "true"
    with open(disk, "r+b") as f:  # a superblock that is none
        f.seek(1024)
        f.write(b"\xFF" * 56)
    with bench.boot({"scratchUnit": 1}, disks=[unused, disk]) as guest:
        assert ready_fields(guest)["earlier"] == "false"
        assert "made anew" in guest.console()
    with open(unused, "rb") as f:
        assert not any(f.read()), "the disk at another SCSI unit was written to"


def sets_a_clock_that_cannot_be_right(bench):
    """Certificates would not be valid by it."""
    with bench.boot(extra=["-rtc", "base=2000-01-01"]) as guest:
        guest.wait_console("tether ready")
        assert "Machine's clock is wrong and set to the date of this program" in guest.console(), guest.console()[-3000:]
        with guest.channel(bench.kubelet) as channel:
            channel.frame("hello")
            now = channel.frame("state")["guestNow"] / 1e9
            built = 1672531200  # 2023: no program of this tree is older
            assert built < now < time.time() + 86400, now
            channel.send(poweroff=True)
            guest.wait_off()


def says_what_is_wrong_with_its_configuration(bench):
    with vm.Vm(bench.iso) as guest:
        guest.wait_console("Guest cannot run its pod")
        guest.press_power_button()
    with bench.boot({"address": "nonsense"}) as guest:
        guest.wait_console("address")
        guest.connect_port()
        time.sleep(1)
        guest.tell(op="shutdown")
        guest.wait_off()


ALL = [announces_itself_and_speaks_to_its_kubelet, a_strangers_key_is_refused, shuts_down_when_the_host_asks, shuts_down_on_the_power_button,
       tells_again_who_connects_again, keeps_its_scratch_disk_across_boots, sets_a_clock_that_cannot_be_right, says_what_is_wrong_with_its_configuration]


if __name__ == "__main__":
    sys.exit(vm.main(__doc__, ALL, Bench))
