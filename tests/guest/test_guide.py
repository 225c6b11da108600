# SPDX-License-Identifier: BSD-3-Clause
"""The getting started guide, line by line."""

import re

from initiator import (ADDRESS, ADDRESS6, NAME, OTHER_ADDRESS, PORT, ram,
                       target)

IQN = 'iqn.2016-06.io.spdk:disk1'

CONF = """
[Global]
  ReactorMask 0x1
[iSCSI]
  NodeBase "iqn.2016-06.io.spdk"
  MaxQueueDepth 128
[PortalGroup1]
  Portal DA1 192.0.2.1:3260
[InitiatorGroup1]
  InitiatorName ANY
  Netmask 192.0.2.0/24
[Malloc]
  NumberOfLuns 2
  LunSizeInMB 64
[TargetNode1]
  TargetName disk1
  TargetAlias "Data Disk1"
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod Auto
  QueueDepth 128
  LUN0 Malloc0
  LUN1 Malloc1
"""


def test_the_guide(guest, iscsi, start):
    """Its configuration file and its commands, in its order."""
    start(None, conf=CONF)
    # Setup. The daemon has to take it up by SIGHUP.
    guest("sed -i -e 's/^node.session.cmds_max.*/"
          "node.session.cmds_max = 4096/' "
          "-e 's/^node.session.queue_depth.*/"
          "node.session.queue_depth = 128/' /etc/iscsi/iscsid.conf; "
          'killall -HUP iscsid; true')
    guest('sysctl -w net.ipv4.tcp_timestamps=1 net.ipv4.tcp_sack=0')

    # Discovery, with the protocol's own port.
    assert iscsi.discover(ADDRESS) == [('%s:%d' % (ADDRESS, PORT), '1', IQN)]
    text = guest('iscsiadm -m node')
    assert text == '%s:%d,1 %s' % (ADDRESS, PORT, IQN)

    # Connect.
    text = guest('iscsiadm -m node --login')
    assert 'successful' in text
    guest.until('test -b /dev/sda -a -b /dev/sdb')
    assert 'Attached SCSI disk' in guest('dmesg')

    # Finding /dev/sdX nodes.
    text = guest('iscsiadm -m session -P 3')
    assert len(re.findall('Attached scsi disk', text)) == 2
    assert 'State: running' in text
    assert 'iSCSI Connection State: LOGGED IN' in text
    assert 'Iface Initiatorname: ' + NAME in text
    nodes = guest('iscsiadm -m session -P 3 | grep "Attached scsi disk" | '
                  "awk '{print $4}'").split()
    assert sorted(nodes) == ['sda', 'sdb']

    # Tuning. "noop" is "none" since the kernel's block layer is the new one.
    queue = '/sys/block/%s/queue/' % nodes[0]
    guest('echo none >%sscheduler' % queue)
    guest('echo 2 >%snomerges' % queue)
    assert '[none]' in guest('cat %sscheduler' % queue)
    assert guest('cat %snomerges' % queue) == '2'
    # 1024 is the guide's; the kernel gives at most twice what the host
    # adapter can queue.
    guest('echo 1024 >%snr_requests' % queue)
    assert int(guest('cat %snr_requests' % queue)) == 1024
    assert guest('cat /sys/block/%s/device/queue_depth' % nodes[0]) == '128'
    guest('dd if=/dev/urandom of=/tmp/a bs=1M count=4 2>&1; '
          'dd if=/tmp/a of=/dev/sda bs=1M oflag=direct 2>&1; '
          'dd if=/dev/sda of=/tmp/b bs=1M count=4 iflag=direct 2>&1; '
          'cmp /tmp/a /tmp/b; rm /tmp/a /tmp/b')

    # Disconnect, and delete.
    assert 'successful' in guest('iscsiadm -m node --logout')
    guest.until('test ! -e /sys/block/sda')
    assert iscsi.sessions() == 0
    guest('iscsiadm -m node -o delete')
    assert guest.run('iscsiadm -m node', check=False).rc == 21  # no records
    guest("sed -i -e 's/^node.session.cmds_max.*/"
          "node.session.cmds_max = 128/' "
          "-e 's/^node.session.queue_depth.*/"
          "node.session.queue_depth = 32/' /etc/iscsi/iscsid.conf; "
          'killall -HUP iscsid')


def test_discovery_with_real_addresses(guest, iscsi, start):
    """0.0.0.0 and [::] stand for the address that the connection came to."""
    start(target([ram()], portals=[('0.0.0.0', PORT), ('[::]', PORT)]))
    for address in (ADDRESS, OTHER_ADDRESS):
        found = iscsi.discover(address)
        assert ('%s:%d' % (address, PORT), '1', IQN) in found
        assert not [f for f in found if f[0].startswith('0.0.0.0')]
        iscsi.forget()
    found = iscsi.discover('[%s]' % ADDRESS6)
    assert ('[%s]:%d' % (ADDRESS6, PORT), '1', IQN) in found


def test_ipv6(guest, iscsi, start):
    start(target([ram()], portals=[('[%s]' % ADDRESS6, PORT)]))
    iscsi.login(portal='[%s]' % ADDRESS6)
    guest('dd if=/dev/zero of=%s bs=64k count=16 oflag=direct 2>&1' %
          iscsi.disk())
    iscsi.logout()
