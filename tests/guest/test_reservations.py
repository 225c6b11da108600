# SPDX-License-Identifier: BSD-3-Clause
"""
Persistent reservations with sg_persist: two initiators that fight over one
LUN. In one guest, each is an interface of open-iscsi with a name of its own;
then two guests.
"""

import pytest

from initiator import ADDRESS, OpenIscsi, ram, target

KEYS = ('0xaaaa', '0xbbbb')
CONFLICT = 24           # sg3_utils: reservation conflict

# (type, may the other write, may the other read) when it is registered,
# and the same when it is not (SPC-4, table 61).
TYPES = {
    'write exclusive': (1, (False, True), (False, True)),
    'exclusive access': (3, (False, False), (False, False)),
    'write exclusive, registrants only': (5, (True, True), (False, True)),
    'exclusive access, registrants only': (6, (True, True), (False, False)),
    'write exclusive, all registrants': (7, (True, True), (False, True)),
    'exclusive access, all registrants': (8, (True, True), (False, False)),
}


class Rival:
    """One initiator's way to the disk."""

    def __init__(self, guest, disk, key):
        self.guest, self.disk, self.key = guest, disk, key

    def persist(self, what, check=True):
        # A unit attention that waits is told to the first who asks.
        self.guest.run('sg_turs %s 2>&1' % self.disk, check=False)
        return self.guest.run('sg_persist --no-inquiry %s %s 2>&1' %
                              (what, self.disk), check=check)

    def register(self):
        self.persist('--out --register --param-sark=' + self.key)

    def reserve(self, kind, check=True):
        return self.persist('--out --reserve --param-rk=%s --prout-type=%d' %
                            (self.key, kind), check).rc

    def release(self, kind):
        self.persist('--out --release --param-rk=%s --prout-type=%d' %
                     (self.key, kind))

    def preempt(self, other, kind, abort=False):
        self.persist('--out --preempt%s --param-rk=%s --param-sark=%s '
                     '--prout-type=%d' % ('-abort' if abort else '',
                                          self.key, other.key, kind))

    def keys(self):
        return {line.strip() for line in
                self.persist('--in --read-keys').text.splitlines()
                if line.strip().startswith('0x')}

    def holder(self):
        text = self.persist('--in --read-reservation').text
        for line in text.splitlines():
            if 'Key=' in line or 'Key =' in line:
                return line.split('=')[1].strip()
        assert 'NO reservation' in text, text
        return None

    def writes(self):
        return self.guest.run(
            'sg_turs %s; sg_dd if=/dev/zero of=%s bs=512 count=8 blk_sgio=1 '
            'oflag=sgio 2>&1' % (self.disk, self.disk), check=False).rc == 0

    def reads(self):
        return self.guest.run(
            'sg_turs %s; sg_dd if=%s of=/dev/null bs=512 count=8 blk_sgio=1 '
            'iflag=sgio 2>&1' % (self.disk, self.disk), check=False).rc == 0


@pytest.fixture
def rivals(guest, iscsi, start):
    """Two initiators in one guest, and their target."""
    tgt = start(target([ram(size_mib=16)]))
    for name in ('one', 'two'):
        guest('iscsiadm -m iface -I {0} -o new; iscsiadm -m iface -I {0} '
              '-o update -n iface.initiatorname -v '
              'iqn.2016-06.io.spdk:{0}'.format(name))
        guest('iscsiadm -m discovery -t sendtargets -p %s -I %s' %
              (ADDRESS, name))
        guest('iscsiadm -m node -I %s --login' % name)
    guest.until('test $(ls -d /sys/class/iscsi_session/session*/device/'
                'target*/*/block/* | wc -l) -eq 2')
    found = dict(line.split() for line in guest(
        'for s in /sys/class/iscsi_session/session*; do echo $(cat $s/'
        'ifacename) $(ls $s/device/target*/*/block); done').splitlines())
    yield [Rival(guest, '/dev/' + found[name], key)
           for name, key in zip(('one', 'two'), KEYS)] + [tgt]
    guest('iscsiadm -m node --logout; for i in one two; do '
          'iscsiadm -m node -I $i -o delete; '
          'iscsiadm -m iface -I $i -o delete; done; true')


def test_register_and_read(rivals):
    one, two, _ = rivals
    assert one.keys() == set()
    one.register()
    two.register()
    assert one.keys() == two.keys() == set(KEYS)
    assert one.holder() is None
    text = one.persist('--in --report-capabilities').text
    assert 'Persist Through Power Loss' in text
    one.persist('--out --clear --param-rk=' + one.key)
    assert two.keys() == set()


@pytest.mark.parametrize('names', [
    ['write exclusive'],
    pytest.param(list(TYPES), marks=pytest.mark.long)], ids=['one', 'all'])
def test_types(rivals, names):
    """What each type lets the other do, registered and not."""
    one, two, _ = rivals
    for name in names:
        kind, registered, stranger = TYPES[name]
        one.register()
        one.reserve(kind)
        assert one.holder() is not None
        assert one.writes() and one.reads(), name
        assert (two.writes(), two.reads()) == stranger, name
        two.register()
        assert (two.writes(), two.reads()) == registered, name
        one.release(kind)
        assert one.holder() is None
        assert two.writes() and two.reads(), name
        one.persist('--out --clear --param-rk=' + one.key)


def test_preempt(rivals):
    """The other takes over, as a cluster does with a node that is dead."""
    one, two, _ = rivals
    one.register()
    two.register()
    one.reserve(5)
    assert two.reserve(5, check=False) == CONFLICT
    two.preempt(one, 5)
    assert two.keys() == {two.key}
    assert two.holder() == two.key
    assert not one.writes() and two.writes()
    one.register()
    one.preempt(two, 3, abort=True)
    assert one.holder() == one.key
    assert not two.writes() and not two.reads()
    one.persist('--out --clear --param-rk=' + one.key)


@pytest.mark.long
def test_two_guests(guest, guest2, start):
    """A node whose guest is killed is fenced by the other."""
    start(target([ram(size_mib=16)]))
    nodes = []
    for machine, key in zip((guest, guest2), KEYS):
        machine("echo InitiatorName=iqn.2016-06.io.spdk:node%s "
                '>/etc/iscsi/initiatorname.iscsi' % key)
        iscsi = OpenIscsi(machine)
        iscsi.login()
        nodes.append(Rival(machine, iscsi.disk(), key))
    one, two = nodes
    one.register()
    two.register()
    two.reserve(5)
    # What is aborted for another gets no answer, unless TAS is set: the
    # kernel notices by its own clock.
    guest2('echo 5 >/sys/block/%s/device/timeout' % two.disk.split('/')[-1])
    work = guest2.begin('while dd if=/dev/urandom of=%s bs=64k count=8 '
                        'oflag=direct; do :; done; exit 1' % two.disk)
    assert one.writes()
    one.preempt(two, 5, abort=True)
    assert work.wait(180, check=False).rc != 0
    assert one.holder() == one.key and one.writes()
    assert not two.writes()
    guest2.kill()
    assert one.writes()
    one.persist('--out --clear --param-rk=' + one.key)
    guest("echo InitiatorName=iqn.2016-06.io.spdk:guest "
          '>/etc/iscsi/initiatorname.iscsi')
