# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7143, 9.2.1, 12.1.3; RFC 1994: CHAP, one-way and mutual; T10 to T12."""

import base64
import hashlib

import pytest

from daemon import basic, iqn
from iscsi_initiator import (FULL_FEATURE, OPERATIONAL, OPERATIONAL_KEYS,
                             SECURITY, LoginFailed)
from iscsi_wire import TEST_UNIT_READY, text

USER, SECRET = 'wire-user', 'wire-secret-0123'
MUSER, MSECRET = 'target-user', 'target-secret-0123'
LUN0 = [{'bdev_name': 'Malloc0', 'lun_id': 0}]
MAP = [{'pg_tag': 1, 'ig_tag': 1}]
TARGET = {'calls': basic() + [
    ('iscsi_create_auth_group', {'tag': 1, 'secrets': [
        {'user': USER, 'secret': SECRET, 'muser': MUSER,
         'msecret': MSECRET},
        {'user': 'one-way', 'secret': 'only-one-way-0123'}]}),
    ('iscsi_create_target_node', {
        'name': 'chap', 'alias_name': '', 'pg_ig_maps': MAP, 'luns': LUN0,
        'queue_depth': 16, 'require_chap': True, 'chap_group': 1}),
    ('iscsi_create_target_node', {
        'name': 'mutual', 'alias_name': '', 'pg_ig_maps': MAP, 'luns': LUN0,
        'queue_depth': 16, 'require_chap': True, 'mutual_chap': True,
        'chap_group': 1}),
]}
HASHES = {'5': hashlib.md5, '6': hashlib.sha1, '7': hashlib.sha256,
          '8': hashlib.sha3_256}


def decode(value):
    if value[:2].lower() == '0x':
        return bytes.fromhex(value[2:])
    assert value[:2].lower() == '0b', value
    return base64.b64decode(value[2:])


def hexed(data):
    return '0x' + data.hex()


def answer(algorithm, number, secret, challenge):
    return HASHES[algorithm](bytes([number]) + secret.encode() +
                             challenge).digest()


def ask(s, algorithms='5', discovery=False):
    """Up to the challenge: (algorithm, identifier, challenge)."""
    s.login_step(text(dict(s.names(discovery), AuthMethod='CHAP')), SECURITY)
    assert s.answers['AuthMethod'] == 'CHAP'
    s.login_step(text({'CHAP_A': algorithms}), SECURITY)
    return (s.answers['CHAP_A'], int(s.answers['CHAP_I'], 0),
            decode(s.answers['CHAP_C']))


def chap(s, user=USER, secret=SECRET, algorithms='5', extra=(),
         form=hexed, discovery=False):
    """The whole exchange; then the operational stage."""
    a, i, c = ask(s, algorithms, discovery)
    pairs = [('CHAP_N', user), ('CHAP_R', form(answer(a, i, secret, c)))]
    s.login_step(text(pairs + list(extra)), SECURITY, OPERATIONAL)
    s.offered = {} if discovery else OPERATIONAL_KEYS
    s.enter_full_feature(s.finish_login(text(s.offered)))
    return s


def refused(s, status=0x0201, **kwargs):
    with pytest.raises(LoginFailed) as e:
        chap(s, **kwargs)
    assert e.value.status == status
    assert not s.expect_closed()


@pytest.mark.parametrize('algorithm', sorted(HASHES))
def test_one_way(connect, algorithm):
    s = chap(connect(login=False, target=iqn('chap')),
             algorithms=algorithm)
    assert s.answers['CHAP_A'] == algorithm
    s.clear_attention()
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('form', [
    hexed, lambda d: '0X' + d.hex().upper(),
    lambda d: '0b' + base64.b64encode(d).decode(),
    lambda d: '0B' + base64.b64encode(d).decode()])
def test_forms_of_binary_values(connect, form):
    """6.1: hexadecimal or base64."""
    chap(connect(login=False, target=iqn('chap')), form=form)


def test_first_algorithm_that_both_know(connect):
    s = connect(login=False, target=iqn('chap'))
    assert ask(s, '99,8,5')[0] == '8'


@pytest.mark.parametrize('target', ['chap', 'mutual'])
def test_mutual(connect, target):
    """9.2.1: the target proves itself, with its own name and secret."""
    mine = bytes(range(16))
    s = chap(connect(login=False, target=iqn(target)),
             extra=[('CHAP_I', 17), ('CHAP_C', hexed(mine))])
    assert s.answers['CHAP_N'] == MUSER
    assert decode(s.answers['CHAP_R']) == answer('5', 17, MSECRET, mine)


def test_mutual_is_required(connect):
    refused(connect(login=False, target=iqn('mutual')))


def test_wrong_secret(connect):
    refused(connect(login=False, target=iqn('chap')), secret=SECRET + 'x')


def test_wrong_user(connect):
    refused(connect(login=False, target=iqn('chap')), user='nobody')


def test_user_without_mutual_secret(connect):
    refused(connect(login=False, target=iqn('mutual')), user='one-way',
            secret='only-one-way-0123',
            extra=[('CHAP_I', 1), ('CHAP_C', hexed(bytes(16)))])


def test_optional(connect):
    """A target that does not insist takes who offers CHAP alone, or not."""
    s = connect(target=iqn('disk1'))
    s.run(TEST_UNIT_READY).good()


@pytest.mark.parametrize('algorithms', ['', '99', '0', 'x', ',,', '5' * 40])
def test_t11_algorithms_that_are_none(connect, algorithms):
    s = connect(login=False, target=iqn('chap'))
    s.login_step(text(dict(s.names(), AuthMethod='CHAP')), SECURITY)
    with pytest.raises(LoginFailed) as e:
        s.login_step(text({'CHAP_A': algorithms}), SECURITY)
    assert e.value.status in (0x0200, 0x0201)
    assert not s.expect_closed()


def test_t11_algorithm_said_twice(connect):
    s = connect(login=False, target=iqn('chap'))
    ask(s)
    with pytest.raises(LoginFailed):
        s.login_step(text({'CHAP_A': '5'}), SECURITY)
    assert not s.expect_closed()


@pytest.mark.parametrize('value', [
    '', '0x', '0b', '0x0', '0x' + '0' * 31, '0x' + '0' * 33,
    '0x' + '0' * 34, '0x' + 'f' * 2048, '0x' + 'f' * 5000, '0xzz', '0X',
    '0b====', '0bA', '0b' + 'A' * 23, '0b' + 'A' * 4000, '0b!!!!', '12345',
    '0', '-1', '0x' + '00' * 15 + '0g'])
def test_t10_responses_of_any_form(connect, value):
    s = connect(login=False, target=iqn('chap'))
    ask(s)
    with pytest.raises(LoginFailed) as e:
        s.login_step(text([('CHAP_N', USER), ('CHAP_R', value)]), SECURITY,
                     OPERATIONAL)
    assert e.value.status in (0x0200, 0x0201), hex(e.value.status)
    assert not s.expect_closed()


@pytest.mark.parametrize('number,challenge', [
    ('', '0x00'), ('256', '0x' + '00' * 16), ('-1', '0x' + '00' * 16),
    ('0x100', '0x' + '00' * 16), ('x', '0x' + '00' * 16), ('1', ''),
    ('1', '0x'), ('1', '0x' + '00' * 1025), ('1', '0b'), ('1', '0xq')])
def test_t10_challenges_of_any_form(connect, number, challenge):
    """What the initiator asks the target, with a good answer of its own."""
    s = connect(login=False, target=iqn('chap'))
    a, i, c = ask(s)
    with pytest.raises(LoginFailed) as e:
        s.login_step(text([
            ('CHAP_N', USER), ('CHAP_R', hexed(answer(a, i, SECRET, c))),
            ('CHAP_I', number), ('CHAP_C', challenge)]), SECURITY,
            OPERATIONAL)
    assert e.value.status in (0x0200, 0x0201)
    assert not s.expect_closed()


def test_t12_challenges_are_never_the_same(connect, make_tgt):
    """Not in one run, and not after the next start."""
    seen = set()
    for _ in range(2):
        t = make_tgt(**TARGET)
        for _ in range(30):
            s = connect(login=False, to=t, target=iqn('chap'))
            _, _, c = ask(s)
            assert len(c) >= 16
            assert c not in seen
            seen.add(c)
            s.close()


def test_t12_own_challenge_sent_back(connect):
    """9.2.1: a reflected challenge is no proof of anything."""
    s = connect(login=False, target=iqn('mutual'))
    a, i, c = ask(s)
    with pytest.raises(LoginFailed):
        s.login_step(text([
            ('CHAP_N', USER), ('CHAP_R', hexed(answer(a, i, SECRET, c))),
            ('CHAP_I', i), ('CHAP_C', hexed(c))]), SECURITY, OPERATIONAL)


def test_answer_before_the_question(connect):
    s = connect(login=False, target=iqn('chap'))
    s.login_step(text(dict(s.names(), AuthMethod='CHAP')), SECURITY)
    with pytest.raises(LoginFailed):
        s.login_step(text([('CHAP_N', USER), ('CHAP_R', '0x' + '00' * 16)]),
                     SECURITY, OPERATIONAL)


def test_leaving_security_without_an_answer(connect):
    s = connect(login=False, target=iqn('chap'))
    ask(s)
    try:
        rsp = s.login_step(b'', SECURITY, FULL_FEATURE)
        assert not rsp.final
    except LoginFailed as e:
        assert e.status in (0x0200, 0x0201, 0x0207)


def test_chap_for_discovery(make_tgt, connect):
    t = make_tgt(calls=[TARGET['calls'][0], (
        'iscsi_set_options', {'require_chap': True, 'chap_group': 1})] +
        TARGET['calls'][1:])
    s = connect(login=False, discovery=True, to=t)
    with pytest.raises(LoginFailed) as e:
        s.login(discovery=True)
    assert e.value.status == 0x0201
    s = chap(connect(login=False, to=t), discovery=True)
    assert [n for n, _ in s.send_targets()]


def test_secrets_are_not_shown(tgt):
    """Neither in the log nor by the calls that show everything."""
    shown = str([tgt.rpc('iscsi_get_target_nodes'),
                 tgt.rpc('iscsi_get_options'), tgt.rpc('save_config')])
    for secret in (SECRET, MSECRET):
        assert secret.encode() not in tgt.log()
        assert secret not in shown
