# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 6.2 and 13: what each key comes to."""

import pytest

from daemon import basic, iqn
from iscsi_initiator import (FULL_FEATURE, OPERATIONAL, SECURITY,
                             LoginFailed)
from iscsi_wire import TEST_UNIT_READY, pairs_of, read10, text, write10

TARGET = {'calls': basic(options={
    'max_burst_length': 1048576, 'first_burst_length': 65536,
    'max_outstanding_r2t': 4, 'default_time2wait': 2,
    'default_time2retain': 20})}


def negotiate(s, *pairs):
    """All that is said in the operational stage, as a dict."""
    s.login_step(text(s.names()), SECURITY, OPERATIONAL)
    before = dict(s.answers)
    s.offered = dict(pairs)
    s.enter_full_feature(s.finish_login(text(pairs)))
    return {k: v for k, v in s.answers.items() if k not in before}


def reject_or_fail(connect, *pairs):
    """6.2: an answer Reject, or the end of the login, is right."""
    s = connect(login=False)
    try:
        answers = negotiate(s, *pairs)
    except LoginFailed as e:
        assert e.status == 0x0200
        return
    assert answers[pairs[-1][0]] == 'Reject'


@pytest.mark.parametrize('key,offer,answer', [
    # 13.1: the first that both know.
    ('HeaderDigest', 'None', 'None'),
    ('HeaderDigest', 'CRC32C', 'CRC32C'),
    ('HeaderDigest', 'CRC32C,None', 'CRC32C'),
    ('HeaderDigest', 'None,CRC32C', 'None'),
    ('DataDigest', 'x-unheard-of,CRC32C,None', 'CRC32C'),
    ('DataDigest', 'None', 'None'),
    # 13.10, 13.11: OR, AND; the target says No and Yes.
    ('InitialR2T', 'No', 'No'),
    ('InitialR2T', 'Yes', 'Yes'),
    ('ImmediateData', 'Yes', 'Yes'),
    ('ImmediateData', 'No', 'No'),
    # 13.13, 13.14, 13.17: minimum.
    ('MaxBurstLength', '512', '512'),
    ('MaxBurstLength', '16777215', '1048576'),
    ('FirstBurstLength', '512', '512'),
    ('FirstBurstLength', '262144', '65536'),
    ('MaxOutstandingR2T', '1', '1'),
    ('MaxOutstandingR2T', '65535', '4'),
    # 13.15: maximum; 13.16: minimum.
    ('DefaultTime2Wait', '0', '2'),
    ('DefaultTime2Wait', '3600', '3600'),
    ('DefaultTime2Retain', '0', '0'),
    ('DefaultTime2Retain', '3600', '20'),
    # 13.18, 13.19: OR.
    ('DataPDUInOrder', 'No', 'Yes'),
    ('DataPDUInOrder', 'Yes', 'Yes'),
    ('DataSequenceInOrder', 'No', 'Yes'),
    # 13.2, 13.20: minimum.
    ('MaxConnections', '1', '1'),
    ('ErrorRecoveryLevel', '0', '0'),
    # 6.1: numbers may be hexadecimal.
    ('MaxBurstLength', '0x2000', '8192'),
    ('FirstBurstLength', '0X400', '1024'),
    # 13.25: markers are of the past.
    ('IFMarker', 'Yes', 'No'),
    ('OFMarker', 'No', 'No'),
    ('IFMarkInt', '2048~8192', 'Reject'),
    # 6.2: what nobody knows.
    ('X-com.example.key', 'whatever', 'NotUnderstood'),
    ('NoSuchKey', '1', 'NotUnderstood'),
    # 13.23
    ('TaskReporting', 'RFC3720', 'RFC3720'),
    ('TaskReporting', 'ResponseFence,RFC3720', 'ResponseFence'),
])
def test_result(connect, key, offer, answer):
    s = connect(login=False)
    answers = negotiate(s, (key, offer))
    got = answers.pop(key)
    # A number may be said as decimal or hexadecimal.
    try:
        assert int(got, 0) == int(answer, 0)
    except ValueError:
        assert got == answer
    # Beside it the target may only declare or propose what is its own.
    assert set(answers) <= {'MaxRecvDataSegmentLength', 'FirstBurstLength'}
    s.clear_attention()
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('key,value', [
    ('HeaderDigest', 'x-unheard-of'),
    ('MaxBurstLength', '511'),
    ('MaxBurstLength', '16777216'),
    ('MaxBurstLength', 'much'),
    ('MaxBurstLength', ''),
    ('MaxBurstLength', '-1'),
    ('FirstBurstLength', '0'),
    ('MaxOutstandingR2T', '0'),
    ('DefaultTime2Wait', '3601'),
    ('InitialR2T', 'Maybe'),
    ('InitialR2T', 'yes'),
    ('ErrorRecoveryLevel', '3'),
    ('MaxConnections', '0'),
    ('MaxRecvDataSegmentLength', '511'),
    ('MaxRecvDataSegmentLength', '16777216'),
])
def test_value_out_of_range(connect, key, value):
    reject_or_fail(connect, (key, value))


def test_declared_length_is_the_targets_own(connect):
    """13.12: each side declares; neither answers the other."""
    s = connect(login=False)
    answers = negotiate(s, ('MaxRecvDataSegmentLength', '4096'))
    assert int(answers['MaxRecvDataSegmentLength']) == 262144
    assert s.max_send == 262144


def test_first_burst_is_not_above_max_burst(connect):
    """13.14: the result has to hold the rule, whatever was offered."""
    s = connect(login=False)
    negotiate(s, ('MaxBurstLength', '8192'))
    assert s.first_burst <= s.max_burst == 8192
    s.clear_attention()
    data = bytes(range(256)) * 128
    s.run(write10(0, 64), data).good()
    assert s.run(read10(0, 64), read_len=len(data)).good().data == data


def test_key_that_only_the_target_may_send(connect):
    """13.4, 13.8, 13.9: TargetAddress and its like come from targets."""
    reject_or_fail(connect, ('TargetAddress', '10.0.0.1:3260,1'))


def test_irrelevant_in_discovery(connect):
    """6.2.2: what has no meaning there is answered so."""
    s = connect(login=False)
    s.login_step(text(s.names(True)), SECURITY, OPERATIONAL)
    rsp = s.login_step(text({'MaxBurstLength': 8192, 'InitialR2T': 'No'}),
                       OPERATIONAL, FULL_FEATURE)
    assert rsp.final
    for key in ('MaxBurstLength', 'InitialR2T'):
        assert s.answers[key] == 'Irrelevant'


def test_alias_and_tag(connect):
    s = connect()
    assert s.answers['TargetPortalGroupTag'] == '1'
    assert s.answers['TargetAlias'] == 'disk1 alias'


def test_initiator_alias_is_taken(connect):
    s = connect(login=False)
    first = dict(s.names(), InitiatorAlias='a wire')
    s.login_step(text(first), SECURITY, OPERATIONAL)
    assert 'InitiatorAlias' not in s.answers


@pytest.mark.parametrize('methods,answer', [
    ('None', 'None'), ('CHAP,None', None), ('None,CHAP', None),
    ('KRB5,None', 'None'), ('SRP,SPKM1,None', 'None')])
def test_auth_method(connect, methods, answer):
    """12.1: one of those that were offered."""
    s = connect(login=False)
    first = dict(s.names(), AuthMethod=methods)
    s.login_step(text(first), SECURITY)
    assert s.answers['AuthMethod'] == answer or \
        (answer is None and s.answers['AuthMethod'] in ('None', 'CHAP'))


def test_auth_method_none_of_ours(connect):
    s = connect(login=False)
    with pytest.raises(LoginFailed) as e:
        s.login_step(text(dict(s.names(), AuthMethod='KRB5')), SECURITY,
                     OPERATIONAL)
    assert e.value.status == 0x0201


def test_many_keys_in_one_request(connect):
    """Below the limit all are answered, over as many PDUs as it takes."""
    s = connect(login=False, target=iqn())
    s.login_step(text(s.names()), SECURITY, OPERATIONAL)
    pairs = [('X-com.example.%03d' % i, 'v' * 40) for i in range(100)]
    s.send(s.login_pdu(text(pairs), OPERATIONAL, FULL_FEATURE))
    said = b''
    for _ in range(16):
        rsp = s.expect(0x23)
        assert rsp.login_status == 0
        said += rsp.data
        if rsp.final:
            break
        s.send(s.login_pdu(b'', OPERATIONAL, FULL_FEATURE))
    answers = dict(pairs_of(said))
    assert all(answers[k] == 'NotUnderstood' for k, _ in pairs)
