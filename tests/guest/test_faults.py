# SPDX-License-Identifier: BSD-3-Clause
"""Targets and disks that go away while the kernel uses them."""

import signal

import pytest

from daemon import wait_until
from initiator import (ADDRESS, OTHER_ADDRESS, PORT, OpenIscsi, file, ram,
                       target)

MIB = 1 << 20
NODE = 'iqn.2016-06.io.spdk:disk1'

# So that a restart is noticed soon, and nothing given up.
PATIENT = {'node.session.timeo.replacement_timeout': '120',
           'node.conn[0].timeo.noop_out_interval': '2',
           'node.conn[0].timeo.noop_out_timeout': '30'}

# Writes the number of each round to a block of its own, says so after the
# flush, and never overwrites: all that was said must be there later.
FLUSHED = """
disk=%s
i=0
while test $i -lt 4000; do
    printf '%%-512s' "round $i" | dd of=$disk bs=512 seek=$i conv=fsync,notrunc 2>/dev/null || exit 1
    echo $i
    i=$((i + 1))
    test ! -e /tmp/enough || exit 0
done
"""


def errors(guest):
    return guest("dmesg | grep -iE 'I/O error|Buffer I/O|EXT4-fs error' ; "
                 'true')


@pytest.mark.parametrize('how', [
    pytest.param(signal.SIGTERM, id='ended', marks=pytest.mark.long),
    pytest.param(signal.SIGKILL, id='killed')])
def test_target_restarted_under_fio(guest, iscsi, start, tmp_path, how):
    """The kernel logs in again; no I/O error, no wrong byte."""
    tgt = start(target([file(tmp_path / 'disk')]))
    guest('dmesg -c >/dev/null')
    iscsi.login(PATIENT)
    disk = iscsi.disk()
    work = guest.begin(
        'fio --name=v --filename=%s --rw=randwrite --bs=4k --size=8m '
        '--ioengine=libaio --iodepth=32 --direct=1 --verify=crc32c '
        '--verify_fatal=1 --do_verify=1 --time_based --runtime=12' % disk)
    for _ in range(2):
        wrote = tgt.rpc('bdev_get_iostat', name='File0')
        before = wrote['bdevs'][0]['num_write_ops']
        wait_until(lambda: tgt.rpc('bdev_get_iostat', name='File0')[
            'bdevs'][0]['num_write_ops'] > before + 50, 60, 'writes')
        assert work.running()
        tgt.drop_rpc()
        tgt.process.send_signal(how)
        tgt.process.wait(20)
        tgt.start()
        # It works again when the session is back and writes come.
        wait_until(lambda: tgt.rpc('bdev_get_iostat', name='File0')[
            'bdevs'][0]['num_write_ops'] > 50, 60, 'writes again')
    work.wait(240)
    assert not errors(guest)
    iscsi.logout()


def test_killed_under_flushes(guest, iscsi, start, tmp_path):
    """Every acknowledged flush is still there after kill -9."""
    backing = tmp_path / 'disk'
    tgt = start(target([file(backing, size_mib=8)]))
    iscsi.login(PATIENT)
    disk = iscsi.disk()
    guest('rm -f /tmp/enough')
    work = guest.begin(FLUSHED % disk)
    for _ in range(3):
        count = len(work.output().split())
        guest.until('test $(wc -l </tmp/job%d.out) -gt %d' %
                    (work.number, count + 20))
        # As the guest sees it now; later is not promised by then.
        said = int(work.output().split()[-1])
        tgt.kill()
        data = backing.read_bytes()
        for i in range(said + 1):
            assert data[i * 512:(i + 1) * 512] == b'%-512s' % (
                b'round %d' % i), 'flush %d is lost' % i
        tgt.start()
        guest.until('test $(wc -l </tmp/job%d.out) -gt %d' %
                    (work.number, said + 5))
    guest('touch /tmp/enough')
    work.wait()
    said = len(work.output().split())
    data = backing.read_bytes()
    for i in range(said):
        assert data[i * 512:].startswith(b'round %d ' % i)
    iscsi.logout()


@pytest.mark.long
def test_file_system_over_a_kill(guest, iscsi, start, tmp_path):
    """ext4's journal, with the target killed while files are made."""
    tgt = start(target([file(tmp_path / 'disk')]))
    guest('dmesg -c >/dev/null')
    iscsi.login(PATIENT)
    disk = iscsi.disk()
    guest('mkfs.ext4 -q %s && mount %s /mnt' % (disk, disk))
    work = guest.begin('for i in $(seq 30); do dd if=/dev/urandom '
                       'of=/mnt/f$i bs=32k count=8 conv=fsync || exit 1; '
                       'done; cd /mnt; sha256sum f* >/tmp/sums')
    guest.until('test -e /mnt/f5')
    tgt.kill()
    tgt.start()
    work.wait(120)
    guest('umount /mnt; e2fsck -fn %s 2>&1; mount %s /mnt; cd /mnt && '
          'sha256sum -c /tmp/sums; cd /; umount /mnt' % (disk, disk))
    assert not errors(guest)
    iscsi.logout()


LOAD = ('fio --name=%s --filename=%s --rw=%s --bs=1m --size=16m --direct=1 '
        '--ioengine=libaio --iodepth=16 --time_based --runtime=60 '
        '--continue_on_error=none')


@pytest.mark.parametrize('rounds', [
    1, pytest.param(10, marks=pytest.mark.long)])
def test_hot_remove(guest, iscsi, start, rounds):
    """
    The guide's known bug, from the kernel: 1 MiB writes and reads on a disk
    that is deleted. The other LUN goes on, and the name can come back.
    """
    tgt = start(target([ram('Malloc0'), ram('Malloc1', 32)]))
    guest('dmesg -c >/dev/null')
    iscsi.login(luns=2)
    disks = iscsi.disks()
    stays, goes = '/dev/' + disks[0], '/dev/' + disks[1]
    other = guest.begin(
        'fio --name=v --filename=%s --rw=randrw --bs=16k --size=4m '
        '--direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c '
        '--verify_fatal=1 --time_based --runtime=%d' % (stays, 5 + 5 * rounds))
    for _ in range(rounds):
        loads = [guest.begin(LOAD % (rw, goes, rw))
                 for rw in ('write', 'read')]
        before = tgt.rpc('bdev_get_iostat', name='Malloc1')['bdevs'][0]
        wait_until(lambda: all(
            tgt.rpc('bdev_get_iostat', name='Malloc1')['bdevs'][0][k] >
            before[k] + 8 for k in ('num_read_ops', 'num_write_ops')), 60,
            'load')
        tgt.rpc('bdev_malloc_delete', name='Malloc1')
        for load in loads:
            assert load.wait(60, check=False).rc != 0
        guest('echo 1 >/sys/block/%s/device/delete' % goes.split('/')[-1])
        tgt.rpc('bdev_malloc_create', name='Malloc1', num_blocks=65536,
                block_size=512)
        tgt.rpc('iscsi_target_node_add_lun', name=NODE, bdev_name='Malloc1',
                lun_id=1)
        guest('iscsiadm -m session --rescan')
        guest.until('ls -d /sys/class/iscsi_session/session*/device/'
                    'target*/*:1/block/*')
        goes = iscsi.disk(1)
    other.wait(120)
    guest('dd if=/dev/urandom of=%s bs=1M count=4 oflag=direct 2>&1' % goes)
    # How the kernel puts "reported LUNs data has changed".
    assert 'LUN assignments on this target have changed' in guest('dmesg')
    iscsi.logout()


@pytest.mark.long
def test_multipath(guest, iscsi, start, tmp_path):
    """Two portals, of which one goes away and comes back."""
    tgt = start(target([file(tmp_path / 'disk')], portals=[
        (ADDRESS, PORT), (OTHER_ADDRESS, PORT)]))
    iscsi.login({'node.session.timeo.replacement_timeout': '1',
                 'node.conn[0].timeo.noop_out_interval': '1',
                 'node.conn[0].timeo.noop_out_timeout': '2'}, luns=2)
    assert iscsi.sessions() == 2
    paths = sorted('/dev/' + line.split('/')[-1] for line in guest(
        'ls -d /sys/class/iscsi_session/session*/device/target*/*/block/*'
    ).split())
    assert len(paths) == 2
    assert len({guest('cat /sys/block/%s/device/wwid' % p.split('/')[-1])
                for p in paths}) == 1
    guest('modprobe dm-multipath; modprobe dm-round-robin')
    numbers = [guest('cat /sys/block/%s/dev' % p.split('/')[-1])
               for p in paths]
    sectors = 64 * MIB // 512
    guest("dmsetup create mp --noudevsync --table '0 %d multipath "
          '1 queue_if_no_path 0 1 1 round-robin 0 2 1 %s 1 %s 1\'' %
          (sectors, *numbers))
    guest('test -b /dev/mapper/mp || dmsetup mknodes mp')
    work = guest.begin(
        'fio --name=v --filename=/dev/mapper/mp --rw=randwrite --bs=4k '
        '--size=4m --ioengine=libaio --iodepth=16 --direct=1 '
        '--verify=crc32c --verify_fatal=1 --time_based --runtime=15')
    try:
        guest.until('dmsetup status mp | grep -q " A "')
        guest.namespace.delete(OTHER_ADDRESS)
        guest.until('dmsetup status mp | grep -q " F "', 60)
        guest.namespace.add(OTHER_ADDRESS)
        # multipathd's job: the path works again, so use it.
        guest.until("test $(cat /sys/class/iscsi_session/session*/state | "
                    'grep -c LOGGED_IN) -eq 2', 90)
        for number in numbers:
            guest("dmsetup message mp 0 'reinstate_path %s'" % number)
        assert ' F ' not in guest('dmsetup status mp')
        work.wait(120)
    finally:
        guest.run('dmsetup remove --force --retry mp', check=False)
    assert tgt.alive()
    iscsi.logout()
