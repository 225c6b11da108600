# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's error handling: what it does when an answer takes too long."""

from initiator import ram, target

SLOW = ('bdev_delay_create', {
    'name': 'Slow0', 'base_bdev_name': 'Malloc0', 'avg_read_latency': 0,
    'p99_read_latency': 0, 'avg_write_latency': 0, 'p99_write_latency': 0})


def slow_target(start):
    calls = target([SLOW])
    return start([ram()] + calls)


def delay(tgt, seconds):
    for kind in ('avg_read', 'p99_read', 'avg_write', 'p99_write'):
        tgt.rpc('bdev_delay_update_latency', delay_bdev_name='Slow0',
                latency_type=kind, latency_us=int(seconds * 1000000))


def test_slow_commands_are_aborted(guest, iscsi, start):
    """
    The kernel gives up commands after two seconds: ABORT TASK; nothing is
    lost, since it tries again, and the session lives.
    """
    tgt = slow_target(start)
    iscsi.login()
    disk = iscsi.disk()
    name = disk.split('/')[-1]
    guest('dmesg -c >/dev/null; echo 2 >/sys/block/%s/device/timeout; '
          'dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>&1' % name)
    delay(tgt, 12)
    write = guest.begin('dd if=/tmp/data of=%s bs=1M oflag=direct' % disk)
    guest.until('iscsiadm -m session -s | grep -q "tmfcmd_pdus: [1-9]"', 40)
    delay(tgt, 0)
    write.wait(60)
    guest('dd if=%s of=/tmp/back bs=1M count=1 iflag=direct 2>&1; '
          'cmp /tmp/data /tmp/back; rm /tmp/data /tmp/back' % disk)
    assert guest('cat /sys/block/%s/device/state' % name) == 'running'
    assert iscsi.sessions() == 1
    iscsi.logout()


def test_reset_by_the_user(guest, iscsi, start):
    """LUN, target and session reset under load, as sg_reset asks for them."""
    start(target([ram()]))
    iscsi.login()
    disk = iscsi.disk()
    work = guest.begin(
        'fio --name=v --filename=%s --rw=randwrite --bs=4k --size=2m '
        '--ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c '
        '--verify_fatal=1 --time_based --runtime=4' % disk)
    while work.running():
        guest('sg_reset -d %s' % disk)
        guest('sg_reset -t %s' % disk)
    work.wait()
    iscsi.logout()
