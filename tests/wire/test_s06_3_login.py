# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 6.3, 11.12, 11.13: the login phase."""

import pytest

from daemon import basic, iqn
from iscsi_initiator import (FULL_FEATURE, OPERATIONAL, OPERATIONAL_KEYS,
                             SECURITY, LoginFailed)
from iscsi_wire import (CONTINUE, FINAL, IMMEDIATE, LOGIN_REQUEST,
                        LOGIN_RESPONSE, NOP_OUT, TEST_UNIT_READY,
                        TEXT_REQUEST, Pdu, inquiry, pairs_of, text)

OTHERS = 'iqn.2016-06.io.spdk:others'
TARGET = {'calls': basic(options={'max_sessions': 8}) + [
    ('bdev_malloc_create', {'name': 'Malloc1', 'num_blocks': 2048,
                            'block_size': 512}),
    ('iscsi_create_initiator_group', {
        'tag': 2, 'initiators': [OTHERS], 'netmasks': ['127.0.0.0/8']}),
    ('iscsi_create_initiator_group', {
        'tag': 3, 'initiators': ['ANY'], 'netmasks': ['192.0.2.0/24']}),
    ('iscsi_create_target_node', {
        'name': 'private', 'alias_name': '',
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 2}],
        'luns': [{'bdev_name': 'Malloc1', 'lun_id': 0}],
        'queue_depth': 16}),
    ('iscsi_create_target_node', {
        'name': 'far', 'alias_name': '',
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 3}],
        'luns': [{'bdev_name': 'Malloc1', 'lun_id': 0}],
        'queue_depth': 16}),
    ('iscsi_create_target_node', {
        'name': 'chap', 'alias_name': '',
        'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1}],
        'luns': [{'bdev_name': 'Malloc1', 'lun_id': 0}],
        'queue_depth': 16, 'require_chap': True, 'chap_group': 1}),
]}


def refused(s, status, data, csg=SECURITY, nsg=OPERATIONAL, **kwargs):
    """The login ends with this status and the connection with it."""
    with pytest.raises(LoginFailed) as e:
        s.login_step(data, csg, nsg, **kwargs)
    assert e.value.status == status, hex(e.value.status)
    assert not s.expect_closed()


def said(s, **change):
    """The text of a first request, changed."""
    pairs = dict(s.names(), AuthMethod='None')
    pairs.update(change)
    return text(pairs)


# ---- Ways in.

def test_two_stages(connect):
    s = connect(login=False)
    rsp = s.login_step(said(s), SECURITY, OPERATIONAL)
    assert rsp.flags == FINAL | SECURITY << 2 | OPERATIONAL
    assert s.answers == {'AuthMethod': 'None', 'TargetPortalGroupTag': '1',
                         'TargetAlias': 'disk1 alias'}
    # 11.13.3: the TSIH is the target's to give, with the final response.
    assert rsp.tsih == 0
    rsp = s.login_step(text(OPERATIONAL_KEYS), OPERATIONAL, FULL_FEATURE)
    assert rsp.flags == FINAL | OPERATIONAL << 2 | FULL_FEATURE
    assert rsp.tsih not in (0, 0xffff)
    assert rsp.expcmdsn == s.cmdsn
    assert rsp.maxcmdsn - rsp.expcmdsn + 1 == 64, 'the queue depth'
    s.enter_full_feature(rsp)
    s.clear_attention()
    assert s.logout() == 0


def test_operational_stage_only(connect):
    connect(security=False).run(TEST_UNIT_READY).good()


def test_security_stage_straight_to_full_feature(connect):
    """Everything that was not said has its default."""
    s = connect(login=False)
    rsp = s.login_step(said(s), SECURITY, FULL_FEATURE)
    assert rsp.flags == FINAL | SECURITY << 2 | FULL_FEATURE
    s.enter_full_feature(rsp)
    assert s.max_send == 8192
    s.clear_attention()
    s.run(inquiry(), read_len=96)


def test_stages_step_by_step(connect):
    """Requests without T, one key each: the target answers and waits."""
    s = connect(login=False)
    rsp = s.login_step(said(s), SECURITY)
    assert rsp.flags & (FINAL | 3) == 0
    rsp = s.login_step(b'', SECURITY, OPERATIONAL)
    assert rsp.flags & FINAL
    for key, value in OPERATIONAL_KEYS.items():
        rsp = s.login_step(text({key: value}), OPERATIONAL)
        assert rsp.flags == OPERATIONAL << 2
    rsp = s.login_step(b'', OPERATIONAL, FULL_FEATURE)
    s.offered = OPERATIONAL_KEYS
    s.enter_full_feature(rsp)
    s.clear_attention()
    s.run(TEST_UNIT_READY).good()


def test_c_bit_splits_text_anywhere(connect):
    """6.2: a key=value pair may lie in several requests."""
    for step in (1, 7, 64):
        s = connect(login=False)
        s.login_step(said(s), SECURITY, OPERATIONAL)
        data = text(dict(OPERATIONAL_KEYS))
        # At most 64 requests make a login.
        pieces = [data[i:i + step] for i in range(0, len(data), step)]
        pieces = pieces[:50] + [b''.join(pieces[50:])]
        pieces = [p for p in pieces if p]
        for piece in pieces[:-1]:
            rsp = s.login_step(piece, OPERATIONAL, cont=True)
            # 6.2: an empty response, neither T nor C.
            assert rsp.flags == OPERATIONAL << 2 and not rsp.data
        rsp = s.login_step(pieces[-1], OPERATIONAL, FULL_FEATURE)
        assert rsp.flags & FINAL
        s.offered = OPERATIONAL_KEYS
        s.enter_full_feature(rsp)
        s.clear_attention()
        s.logout()


def test_byte_by_byte(connect):
    """PDUs are found wherever TCP cuts them."""
    s = connect(login=False)
    for data, csg, nsg in ((said(s), SECURITY, OPERATIONAL),
                           (text(OPERATIONAL_KEYS), OPERATIONAL,
                            FULL_FEATURE)):
        for byte in s.login_pdu(data, csg, nsg).pack():
            s.send_raw(bytes([byte]))
        rsp = s.expect(LOGIN_RESPONSE)
        assert rsp.login_status == 0
    s.offered = OPERATIONAL_KEYS
    s.enter_full_feature(rsp)
    s.clear_attention()


def test_names_without_regard_to_case(connect):
    """RFC 3722: names are compared after stringprep, which folds case."""
    s = connect(target=iqn().upper().replace('IQN', 'iqn'),
                name='iqn.2016-06.io.spdk:WIRE')
    s.run(TEST_UNIT_READY).good()


def test_isid_and_itt_come_back(connect):
    s = connect(login=False, isid=b'\x40\x00\x01\x37\x12\x34')
    s.itt = 0x12345678
    s.login()       # login_step() compares both
    assert s.isid == b'\x40\x00\x01\x37\x12\x34'


def test_statsn_and_cmdsn_start_where_we_say(connect):
    s = connect(login=False)
    s.cmdsn = 0xfffffffe
    s.statsn = 0xfffffffd
    s.login()
    for _ in range(6):      # over the wrap
        s.run(inquiry(), read_len=96)
    assert s.cmdsn < 16 and s.statsn < 16


# ---- 11.13.5: the statuses.

def test_0200_not_text(connect):
    s = connect(login=False)
    refused(s, 0x0200, b'this is no text')


def test_0200_stage_not_begun(connect):
    s = connect(login=False)
    s.login_step(said(s), SECURITY)
    refused(s, 0x0200, b'', OPERATIONAL, FULL_FEATURE)


@pytest.mark.parametrize('csg,nsg', [(SECURITY, SECURITY), (SECURITY, 2),
                                     (OPERATIONAL, SECURITY), (2, 3),
                                     (OPERATIONAL, OPERATIONAL), (3, 3)])
def test_0200_impossible_transition(connect, csg, nsg):
    s = connect(login=False)
    refused(s, 0x0200, said(s), csg, nsg)


def test_0200_t_with_c(connect):
    """11.12.2: a request with C must not have T."""
    s = connect(login=False)
    refused(s, 0x0200, said(s), SECURITY, OPERATIONAL, cont=True)


def test_0200_key_twice(connect):
    s = connect(login=False)
    refused(s, 0x0200, said(s) + b'AuthMethod=None\0')


def test_0200_key_twice_in_two_requests(connect):
    """6.2: a key is negotiated once."""
    s = connect(login=False)
    s.login_step(said(s), SECURITY, OPERATIONAL)
    s.login_step(text({'MaxBurstLength': 8192}), OPERATIONAL)
    refused(s, 0x0200, text({'MaxBurstLength': 8192}), OPERATIONAL,
            FULL_FEATURE)


def test_0200_names_change(connect):
    s = connect(login=False)
    s.login_step(said(s), SECURITY, OPERATIONAL)
    refused(s, 0x0200, text({'InitiatorName': 'iqn.2016-06.io.spdk:x'}),
            OPERATIONAL, FULL_FEATURE)


@pytest.mark.parametrize('field,value', [
    ('isid', b'\x40\0\0\0\0\1'), ('tsih', 9), ('cid', 9),
    ('itt', 99)])
def test_0200_another_login_in_the_middle(connect, field, value):
    """11.12.5 to 11.12.8: these stay the same in one login."""
    s = connect(login=False)
    s.login_step(said(s), SECURITY, OPERATIONAL)
    pdu = s.login_pdu(text(OPERATIONAL_KEYS), OPERATIONAL, FULL_FEATURE)
    setattr(pdu, field, value)
    s.send(pdu)
    assert s.expect(LOGIN_RESPONSE).login_status == 0x0200
    assert not s.expect_closed()


def test_0201_chap_is_required(connect):
    s = connect(login=False, target=iqn('chap'))
    refused(s, 0x0201, said(s))


def test_0201_chap_is_required_and_security_skipped(connect):
    s = connect(login=False, target=iqn('chap'))
    refused(s, 0x0201, text(s.names()), OPERATIONAL, FULL_FEATURE)


def test_0202_initiator_group(connect):
    s = connect(login=False, target=iqn('private'))
    refused(s, 0x0202, said(s))
    connect(target=iqn('private'), name=OTHERS).run(TEST_UNIT_READY).good()


def test_0202_netmask(connect):
    s = connect(login=False, target=iqn('far'))
    refused(s, 0x0202, said(s))


def test_0203_no_such_target(connect):
    s = connect(login=False, target=iqn('nothing'))
    refused(s, 0x0203, said(s))


def test_0205_version(connect):
    s = connect(login=False)
    pdu = s.login_pdu(said(s), SECURITY, OPERATIONAL)
    pdu.version_max = pdu.version_min = 1
    s.send(pdu)
    assert s.expect(LOGIN_RESPONSE).login_status == 0x0205
    assert not s.expect_closed()


def test_version_range_that_includes_ours(connect):
    s = connect(login=False)
    pdu = s.login_pdu(said(s), SECURITY, OPERATIONAL)
    pdu.version_max = 3
    s.send(pdu)
    rsp = s.expect(LOGIN_RESPONSE)
    assert rsp.login_status == 0
    assert rsp.version_max == 0 and rsp.version_min == 0


def test_0206_too_many_connections(connect):
    """MaxConnections is 1: another connection is not for this session."""
    first = connect()
    s = connect(login=False, isid=first.isid)
    s.tsih, s.cid = first.tsih, 2
    refused(s, 0x0206, said(s), SECURITY, FULL_FEATURE)
    first.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('missing', ['InitiatorName', 'TargetName'])
def test_0207_missing(connect, missing):
    s = connect(login=False)
    refused(s, 0x0207, said(s, **{missing: None}))


def test_0209_session_type(connect):
    s = connect(login=False)
    refused(s, 0x0209, said(s, SessionType='Strange'))


def test_020a_no_such_session(connect):
    s = connect(login=False)
    s.tsih = 0x7777
    refused(s, 0x020a, said(s), SECURITY, FULL_FEATURE)


@pytest.mark.parametrize('opcode', [NOP_OUT, TEXT_REQUEST])
def test_other_request_during_login(connect, opcode):
    """6.3: only Login Requests; the target may end the connection."""
    s = connect(login=False)
    s.login_step(said(s), SECURITY, OPERATIONAL)
    s.send(Pdu(opcode | IMMEDIATE, FINAL, itt=5, ttt=0xffffffff))
    for pdu in s.expect_closed():
        assert pdu.opcode == LOGIN_RESPONSE and pdu.login_status == 0x020b


def test_0302_max_sessions(connect, tgt):
    tgt.quiet()
    all_of_them = [connect() for _ in range(8)]
    s = connect(login=False)
    refused(s, 0x0302, said(s), SECURITY, FULL_FEATURE)
    all_of_them.pop().logout()
    tgt.quiet(7)
    connect().run(TEST_UNIT_READY).good()


def test_failed_login_says_nothing_secret(connect):
    """The answer to a refused login carries no keys of the target."""
    s = connect(login=False, target=iqn('private'))
    with pytest.raises(LoginFailed) as e:
        s.login_step(said(s), SECURITY, OPERATIONAL)
    assert pairs_of(e.value.pdu.data) == []
    # 11.13: T, CSG and NSG are reserved when the status is not 0.
    assert e.value.pdu.flags & (FINAL | CONTINUE) == 0


def test_login_request_in_full_feature_phase(connect):
    s = connect()
    pdu = s.login_pdu(said(s), SECURITY, OPERATIONAL)
    assert pdu.opcode == LOGIN_REQUEST
    pdu.expstatsn = s.statsn
    s.send(pdu)
    rsp = s.recv()
    assert rsp.opcode == 0x3f and rsp.response == 0x04
    s.run(TEST_UNIT_READY).good()
