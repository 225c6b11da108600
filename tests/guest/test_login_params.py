# SPDX-License-Identifier: BSD-3-Clause
"""
Every login parameter that open-iscsi can set: what it asks for, what comes of
it, and data in every way that it then takes. Each session moves the same
bytes, so that a wrong one shows.
"""

import pytest

from initiator import NAME, ram, target

HEADER = 'node.conn[0].iscsi.HeaderDigest'
DATA = 'node.conn[0].iscsi.DataDigest'
R2T = 'node.session.iscsi.InitialR2T'
IMMEDIATE = 'node.session.iscsi.ImmediateData'
FIRST = 'node.session.iscsi.FirstBurstLength'
BURST = 'node.session.iscsi.MaxBurstLength'
RECEIVE = 'node.conn[0].iscsi.MaxRecvDataSegmentLength'
TRANSMIT = 'node.conn[0].iscsi.MaxXmitDataSegmentLength'

# (settings, {what the kernel then has, by its name in sysfs})
CASES = {
    'digests none': ({HEADER: 'None', DATA: 'None'},
                     {'header_digest': '0', 'data_digest': '0'}),
    'digests crc32c': ({HEADER: 'CRC32C', DATA: 'CRC32C'},
                       {'header_digest': '1', 'data_digest': '1'}),
    # Who offers both leaves the choice to the target, which takes the
    # first that it knows (RFC 7143, 6.2.1).
    'digests crc32c first': ({HEADER: 'CRC32C,None', DATA: 'CRC32C,None'},
                             {'header_digest': '1', 'data_digest': '1'}),
    'digests none first': ({HEADER: 'None,CRC32C', DATA: 'None,CRC32C'},
                           {'header_digest': '0', 'data_digest': '0'}),
    'header digest': ({HEADER: 'CRC32C', DATA: 'None'},
                      {'header_digest': '1', 'data_digest': '0'}),
    'data digest': ({HEADER: 'None', DATA: 'CRC32C'},
                    {'header_digest': '0', 'data_digest': '1'}),
    'all unsolicited': ({R2T: 'No', IMMEDIATE: 'Yes', FIRST: '65536'},
                        {'initial_r2t': '0', 'immediate_data': '1',
                         'first_burst_len': '65536'}),
    'no immediate data': ({R2T: 'No', IMMEDIATE: 'No'},
                          {'initial_r2t': '0', 'immediate_data': '0'}),
    'R2T first': ({R2T: 'Yes', IMMEDIATE: 'Yes'},
                  {'initial_r2t': '1', 'immediate_data': '1'}),
    'R2T only': ({R2T: 'Yes', IMMEDIATE: 'No'},
                 {'initial_r2t': '1', 'immediate_data': '0'}),
    'small bursts': ({FIRST: '512', BURST: '512'},
                     {'first_burst_len': '512', 'max_burst_len': '512'}),
    'odd bursts': ({FIRST: '4096', BURST: '12288', R2T: 'No'},
                   {'first_burst_len': '4096', 'max_burst_len': '12288'}),
    # 1 MiB and 64 KiB are the target's own limits.
    'large bursts': ({FIRST: '16776192', BURST: '16776192'},
                     {'first_burst_len': '65536',
                      'max_burst_len': '1048576'}),
    'small segments in': ({RECEIVE: '512'}, {'max_recv_dlength': '512'}),
    'large segments in': ({RECEIVE: '16776192'},
                          {'max_recv_dlength': '16776192'}),
    'small segments out': ({TRANSMIT: '512'}, {'max_xmit_dlength': '512'}),
    'small segments with digests': (
        {HEADER: 'CRC32C', DATA: 'CRC32C', RECEIVE: '1024',
         TRANSMIT: '1024', FIRST: '4096', BURST: '8192', R2T: 'No'},
        {'header_digest': '1', 'data_digest': '1'}),
    'small commands': ({'node.session.cmds_max': '16',
                        'node.session.queue_depth': '1'}, {}),
}

# Sizes around immediate data, the first burst and a burst.
MOVE = """
set -e
disk=%s
for n in 1 8 127 128 129 512 2048 2056; do
    dd if=/tmp/data of=$disk bs=${n}b count=1 seek=1 oflag=direct
    dd if=$disk of=/tmp/back bs=${n}b count=1 skip=1 iflag=direct
    head -c $((n * 512)) /tmp/data | cmp - /tmp/back
done
rm /tmp/back
"""


@pytest.fixture
def move(guest):
    guest('test -e /tmp/data || '
          'dd if=/dev/urandom of=/tmp/data bs=64k count=20 2>&1')

    def it(disk):
        guest(MOVE % disk)
    return it


# In each run: those that differ most. The others when there is time.
EACH_TIME = ('digests crc32c first', 'digests none first', 'R2T only',
             'no immediate data', 'small bursts', 'large bursts',
             'small segments with digests', 'small commands')


@pytest.mark.parametrize('case', [
    case if case in EACH_TIME else
    pytest.param(case, marks=pytest.mark.long) for case in CASES])
def test_parameter(guest, iscsi, start, move, case):
    settings, wanted = CASES[case]
    start(target([ram(size_mib=16)]))
    iscsi.login(settings)
    got = iscsi.negotiated()
    assert {k: got[k] for k in wanted} == wanted
    move(iscsi.disk())
    iscsi.logout()


@pytest.mark.parametrize('options, wanted', [
    ({'immediate_data': False}, {'immediate_data': '0'}),
    ({'initial_r2t': True}, {'initial_r2t': '1'}),
    ({'first_burst_length': 8192}, {'first_burst_len': '8192'}),
    ({'max_burst_length': 65536, 'first_burst_length': 65536},
     {'max_burst_len': '65536'}),
], ids=lambda o: next(iter(o)) if isinstance(o, dict) else None)
def test_option_of_the_target(guest, iscsi, start, move, options, wanted):
    """The same from the other side."""
    start(target([ram(size_mib=16)], options=options))
    iscsi.login()
    got = iscsi.negotiated()
    assert {k: got[k] for k in wanted} == wanted
    move(iscsi.disk())
    iscsi.logout()


# ---- CHAP.

USER, SECRET = 'guest', 'abcdefghijkl0'
OUR_USER, OUR_SECRET = 'target', 'mnopqrstuvwx1'


def with_chap(mutual):
    secret = {'user': USER, 'secret': SECRET}
    if mutual:
        secret.update(muser=OUR_USER, msecret=OUR_SECRET)
    calls = target([ram(size_mib=16)], require_chap=True,
                   mutual_chap=mutual, chap_group=1)
    return [('iscsi_create_auth_group', {'tag': 1, 'secrets': [secret]})
            ] + calls


def chap(secret=SECRET, mutual=None, algorithms=None):
    settings = {'node.session.auth.authmethod': 'CHAP',
                'node.session.auth.username': USER,
                'node.session.auth.password': secret}
    if mutual:
        settings.update({'node.session.auth.username_in': OUR_USER,
                         'node.session.auth.password_in': mutual})
    if algorithms:
        settings['node.session.auth.chap_algs'] = algorithms
    return settings


@pytest.mark.parametrize('algorithm', [
    'MD5', pytest.param('SHA1', marks=pytest.mark.long),
    pytest.param('SHA256', marks=pytest.mark.long), 'SHA3-256'])
def test_chap(guest, iscsi, start, move, algorithm):
    start(with_chap(False))
    iscsi.login(chap(algorithms=algorithm))
    move(iscsi.disk())
    iscsi.logout()


def test_chap_mutual(guest, iscsi, start, move):
    start(with_chap(True))
    iscsi.login(chap(mutual=OUR_SECRET))
    move(iscsi.disk())
    iscsi.logout()


@pytest.mark.parametrize('settings', [
    {}, chap(secret='not that one'), chap(mutual='not that one')],
    ids=['none', 'wrong secret', 'wrong secret of ours'])
def test_chap_refused(guest, iscsi, start, settings):
    start(with_chap(True))
    iscsi.discover()
    iscsi.set(**dict(settings, **{
        'node.session.initial_login_retry_max': '1'}))
    result = guest.run('iscsiadm -m node --login', check=False)
    # 24: authentication failed, by us or by the initiator.
    assert result.rc in (24, 19), result.text
    assert iscsi.sessions() == 0


def test_chap_in_discovery(guest, iscsi, start):
    start(with_chap(False) + [
        ('iscsi_set_discovery_auth', {'require_chap': True,
                                      'chap_group': 1})])
    refused = guest.run('iscsiadm -m discovery -t sendtargets -p 192.0.2.1',
                        check=False)
    assert refused.rc == 24, refused.text
    guest('iscsiadm -m discoverydb -t sendtargets -p 192.0.2.1 -o new')
    for name, value in (('authmethod', 'CHAP'), ('username', USER),
                        ('password', SECRET)):
        guest('iscsiadm -m discoverydb -t sendtargets -p 192.0.2.1 '
              "-o update -n discovery.sendtargets.auth.%s -v '%s'" %
              (name, value))
    text = guest('iscsiadm -m discoverydb -t sendtargets -p 192.0.2.1 '
                 '--discover')
    assert 'disk1' in text


def test_initiator_name_decides(guest, iscsi, start):
    """Whom the initiator group does not name sees no target."""
    calls = [c if c[0] != 'iscsi_create_initiator_group' else
             (c[0], {'tag': 1, 'initiators': ['!' + NAME, 'ANY'],
                     'netmasks': ['ANY']})
             for c in target([ram(size_mib=16)])]
    start(calls)
    result = guest.run('iscsiadm -m discovery -t sendtargets -p 192.0.2.1',
                       check=False)
    assert 'disk1' not in result.text
    assert result.rc == 21, result.text     # no records found
