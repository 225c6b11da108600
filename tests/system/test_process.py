# SPDX-License-Identifier: BSD-3-Clause
"""What it costs and what it needs: idle time, rights, configuration."""

import json
import os
import subprocess
import time

import pytest

from daemon import basic, binary, iqn, sanitized
from iscsi_wire import TEST_UNIT_READY, read10, write10

SESSIONS = 50
CONF = """
[Global]
  ReactorMask 0x3
[PortalGroup1]
  Portal DA1 127.0.0.1:PORT
[InitiatorGroup1]
  InitiatorName ANY
  Netmask 127.0.0.1/32
[Malloc]
  NumberOfLuns 2
  LunSizeInMB 8
[TargetNode1]
  TargetName disk1
  Mapping PortalGroup1 InitiatorGroup1
  LUN0 Malloc0
  LUN1 Malloc1
"""


def test_idle_sessions_cost_nothing(make_tgt, connect):
    """Two cores, many sessions that are silent: it sleeps."""
    t = make_tgt(calls=basic(), core_mask='0x3')
    sessions = [connect(to=t) for _ in range(SESSIONS)]
    before = t.cpu_seconds()
    # Time has to pass for this; nothing is waited for.
    time.sleep(2)
    used = t.cpu_seconds() - before
    assert used <= 0.06, '%.0f %% of a core' % (used * 50)
    for s in sessions:
        s.run(TEST_UNIT_READY).good()


def test_idle_sessions_hold_little_memory(make_tgt, connect):
    if sanitized():
        pytest.skip('a sanitizer has memory of its own')
    t = make_tgt(calls=basic(options={'max_sessions': 1000}))
    connect(to=t).run(TEST_UNIT_READY).good()
    before = t.resident()
    sessions = [connect(to=t) for _ in range(200)]
    each = (t.resident() - before) / len(sessions)
    assert each < 32 << 10, '%d bytes for each session' % each


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can be another')
def test_needs_no_root(make_tgt, connect):
    t = make_tgt(start=False, calls=basic(), user='nobody')
    os.chmod(t.dir, 0o777)
    t.start()
    with open('/proc/%d/status' % t.process.pid, encoding='ascii') as f:
        assert 'Uid:\t0' not in f.read()
    s = connect(to=t)
    s.run(write10(0, 1), b'x' * 512).good()
    assert s.run(read10(0, 1), read_len=512).data == b'x' * 512
    s.logout()


def test_configuration_file(make_tgt, connect):
    """The grammar of the guide, from the command line to bytes."""
    t = make_tgt(conf=CONF)
    s = connect(to=t, target=iqn('disk1'))
    s.clear_attention(1)
    for lun in (0, 1):
        s.run(write10(7, 1), bytes([lun + 1]) * 512, lun=lun).good()
    for lun in (0, 1):
        got = s.run(read10(7, 1), read_len=512, lun=lun).good().data
        assert got == bytes([lun + 1]) * 512
    t.stop()


@pytest.mark.parametrize('old,new,line', [
    ('[Malloc]', '[Mallok]', 8),
    ('NumberOfLuns 2', 'NumberOfLums 2', 9),
    ('LunSizeInMB 8', 'LunSizeInMB eight', 10),
    ('LUN1 Malloc1', 'LUN1 Malloc7', 15),
    ('Mapping PortalGroup1', 'Mapping PortalGroup9', 13),
    ('0x3', '0xq', 2),
])
def test_faults_of_the_configuration(tmp_path, old, new, line):
    """A message with file and line, a status, and nothing half-started."""
    path = tmp_path / 'bad.conf'
    assert old in CONF
    text = CONF.lstrip().replace('PORT', '1').replace(old, new)
    path.write_text(text)
    for args in ([], ['--check-config']):
        done = subprocess.run(
            [binary(), '-c', str(path), '-r', str(tmp_path / 'sock')] + args,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert done.returncode not in (0, -6, -11)
        shown = done.stdout.decode()
        assert '%s:%d' % (path, line) in shown, shown
        assert not (tmp_path / 'sock').exists()


def test_check_config_opens_nothing(tmp_path, make_tgt):
    """It may be asked of a file whose port is in use."""
    t = make_tgt(conf=CONF)
    path = tmp_path / 'good.conf'
    path.write_text(CONF.replace('PORT', str(t.port)))
    subprocess.run([binary(), '--check-config', '-c', str(path), '-r',
                    t.socket], check=True, timeout=30)
    assert t.rpc('rpc_get_methods')


def everything(t):
    return [t.rpc(method) for method in (
        'iscsi_get_target_nodes', 'bdev_get_bdevs', 'iscsi_get_options',
        'iscsi_get_portal_groups', 'iscsi_get_initiator_groups',
        'save_config')]


def test_saved_configuration_makes_the_same(make_tgt, tmp_path):
    """save_config, and a start with it, come to the same."""
    t = make_tgt(conf=CONF)
    shown = everything(t)
    path = tmp_path / 'saved.json'
    path.write_text(json.dumps(shown[-1]))
    t.stop()
    again = make_tgt(start=False, args=['-c', str(path)])
    again.port = t.port
    assert again._spawn(), again.tail()
    assert everything(again) == shown
    again.stop()
