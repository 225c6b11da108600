# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 4.3 and appendix C: discovery sessions and SendTargets."""

import pytest

from daemon import basic, iqn
from iscsi_initiator import NAME
from iscsi_wire import (CONTINUE, FINAL, LOGOUT_REQUEST, REJECT,
                        RESERVED_TAG, TEXT_REQUEST, TEXT_RESPONSE, inquiry,
                        text)

MANY = 60
LUN0 = [{'bdev_name': 'Malloc0', 'lun_id': 0}]
TARGET = {'calls': basic() + [
    ('iscsi_create_portal_group', {'tag': 2, 'portals': [
        {'host': '127.0.0.2', 'port': 'PORT'},
        {'host': '127.0.0.3', 'port': 'PORT'}]}),
    ('iscsi_create_initiator_group', {
        'tag': 2, 'initiators': ['iqn.2016-06.io.spdk:somebody'],
        'netmasks': ['127.0.0.0/8']}),
    ('iscsi_create_initiator_group', {
        'tag': 3, 'initiators': ['ANY'], 'netmasks': ['192.0.2.0/24']}),
    ('iscsi_create_initiator_group', {
        'tag': 4, 'initiators': ['!' + NAME, 'ANY'],
        'netmasks': ['127.0.0.0/8']}),
    ('iscsi_create_target_node', {
        'name': 'both', 'alias_name': '', 'luns': LUN0, 'queue_depth': 16,
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1},
                       {'pg_tag': 2, 'ig_tag': 1}]}),
    ('iscsi_create_target_node', {
        'name': 'private', 'alias_name': '', 'luns': LUN0,
        'queue_depth': 16, 'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 2}]}),
    ('iscsi_create_target_node', {
        'name': 'far', 'alias_name': '', 'luns': LUN0, 'queue_depth': 16,
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 3}]}),
    ('iscsi_create_target_node', {
        'name': 'not-you', 'alias_name': '', 'luns': LUN0,
        'queue_depth': 16, 'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 4}]}),
] + [
    ('iscsi_create_target_node', {
        'name': 'crowd%03d' % i, 'alias_name': '', 'luns': LUN0,
        'queue_depth': 16, 'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1}]})
    for i in range(MANY)
]}


def test_all(connect, tgt):
    s = connect(discovery=True)
    found = dict(s.send_targets())
    assert set(found) == {iqn('disk1'), iqn('both')} | {
        iqn('crowd%03d' % i) for i in range(MANY)}
    assert found[iqn('disk1')] == ['127.0.0.1:%d,1' % tgt.port]
    assert sorted(found[iqn('both')]) == [
        '127.0.0.1:%d,1' % tgt.port, '127.0.0.2:%d,2' % tgt.port,
        '127.0.0.3:%d,2' % tgt.port]
    s.logout()


def test_by_name(connect):
    """Appendix C: All is for all; a name for one."""
    s = connect(discovery=True)
    assert [n for n, _ in s.send_targets(iqn('both'))] == [iqn('both')]
    assert s.send_targets(iqn('nothing')) == []
    assert s.send_targets(iqn('private')) == []


def test_filter_by_initiator_name(connect):
    s = connect(discovery=True, name='iqn.2016-06.io.spdk:somebody')
    names = {n for n, _ in s.send_targets()}
    assert iqn('private') in names and iqn('not-you') in names
    assert iqn('far') not in names


def test_filter_by_excluded_name(connect):
    names = {n for n, _ in connect(discovery=True).send_targets()}
    assert iqn('not-you') not in names


@pytest.mark.parametrize('length', [512, 1024, 8192])
def test_answer_over_many_pdus(connect, length):
    """11.11: pieces no longer than what we can receive."""
    s = connect({'MaxRecvDataSegmentLength': length}, discovery=True)
    found = s.send_targets()
    assert len(found) == MANY + 2
    assert (s.text_pdus > 1) == (length < 4096)
    # And again, in the same session.
    assert s.send_targets() == found


def test_answer_left_half_read(connect):
    """A new question (TTT reserved) ends the old one (11.10.4)."""
    s = connect({'MaxRecvDataSegmentLength': 512}, discovery=True)
    s.request(TEXT_REQUEST, FINAL, text([('SendTargets', 'All')]))
    rsp = s.expect(TEXT_RESPONSE)
    assert rsp.flags & CONTINUE and not rsp.final
    assert len(s.send_targets()) == MANY + 2
    # The old tag is of no use now.
    s.request(TEXT_REQUEST, FINAL, itt=rsp.itt, ttt=rsp.ttt)
    assert s.expect(REJECT).response == 0x09


def test_question_in_pieces(connect):
    s = connect(discovery=True)
    itt, ttt = s.next_itt(), RESERVED_TAG
    for piece in (b'Send', b'Targets', b'=', iqn('both').encode()):
        s.request(TEXT_REQUEST, CONTINUE, piece, itt=itt, ttt=ttt)
        rsp = s.expect(TEXT_RESPONSE)
        assert not rsp.data and not rsp.final
        ttt = rsp.ttt
    s.request(TEXT_REQUEST, FINAL, b'\0', itt=itt, ttt=ttt)
    rsp = s.expect(TEXT_RESPONSE)
    assert rsp.final and rsp.data.startswith(b'TargetName=' +
                                             iqn('both').encode() + b'\0')


def test_own_target_in_a_normal_session(connect):
    """Appendix C: an empty value asks for the session's own target."""
    s = connect(target=iqn('both'))
    assert [n for n, _ in s.send_targets('')] == [iqn('both')]
    assert [n for n, _ in s.send_targets(iqn('both'))] == [iqn('both')]
    assert s.send_targets(iqn('disk1')) == []
    assert s.text([('SendTargets', 'All')]) == [('SendTargets', 'Reject')]


def test_no_commands_in_discovery(connect):
    """4.3: Text and Logout, nothing else."""
    s = connect(discovery=True)
    number = s.cmdsn
    s.command(inquiry(), flags=FINAL | 0x40, edtl=96)
    rej = s.expect(REJECT)
    assert rej.response in (0x04, 0x05)
    # 7.3: what is rejected does not count as received: we fill the gap.
    assert rej.expcmdsn == number
    s.cmdsn = number
    assert len(s.send_targets()) == MANY + 2


def test_logout_of_discovery(connect):
    """11.14: reason 0 alone makes sense there."""
    s = connect(discovery=True)
    s.request(LOGOUT_REQUEST, FINAL | 1, cid=s.cid)
    assert s.recv().opcode == REJECT
    assert s.logout() == 0


def test_discovery_sessions_do_not_reinstate(connect):
    a = connect(discovery=True, isid=b'\x80\0\0\0\0\x55')
    b = connect(discovery=True, isid=b'\x80\0\0\0\0\x55')
    assert a.send_targets() == b.send_targets()


@pytest.mark.parametrize('host', ['0.0.0.0', '[::]'])
def test_wildcard_portal_shows_own_address(make_tgt, connect, host):
    t = make_tgt(calls=basic(portals=((host, 'PORT'),),
                             netmasks=('127.0.0.0/8', '[::1]/128')))
    for at in ('127.0.0.1', '127.0.0.7') if host == '0.0.0.0' else ('::1',):
        s = connect(discovery=True, to=t, address=(at, t.port))
        shown = '[%s]' % at if ':' in at else at
        assert s.send_targets() == [
            (iqn(), ['%s:%d,1' % (shown, t.port)])]
        normal = connect(to=t, address=(at, t.port))
        normal.run(inquiry(), read_len=96)


def test_ipv6_portal(make_tgt, connect):
    t = make_tgt(calls=basic(portals=(('[::1]', 'PORT'),),
                             netmasks=('[::1]/128',)))
    s = connect(discovery=True, to=t, address=('::1', t.port))
    assert s.send_targets() == [(iqn(), ['[::1]:%d,1' % t.port])]
    connect(to=t, address=('::1', t.port)).run(inquiry(), read_len=96)
