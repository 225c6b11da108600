# SPDX-License-Identifier: BSD-3-Clause
"""RFC 7144: iSCSIProtocolLevel 2 and what comes with it."""

import pytest

from daemon import basic
from iscsi_wire import (FINAL, GOOD, RESERVED_TAG, SIMPLE, TEST_UNIT_READY,
                        UNIT_ATTENTION, WRITE, write10, lun_field)

TARGET = {'calls': basic()}
QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET, QUERY_ASYNC = 9, 10, 11, 12
COMPLETE, NO_TASK, NO_LUN, NOT_SUPPORTED, SUCCEEDED = 0, 1, 2, 5, 7


@pytest.fixture
def s(connect):
    s = connect({'iSCSIProtocolLevel': '2', 'ImmediateData': 'No',
                 'InitialR2T': 'Yes'})
    assert s.answers['iSCSIProtocolLevel'] == '2'
    return s


def waiting_write(s):
    """A task that stays: its data is never sent."""
    itt = s.command(write10(0, 8), FINAL | WRITE | SIMPLE, 4096).itt
    s.recv_for(itt)
    return itt


@pytest.mark.parametrize('function', [QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET,
                                      QUERY_ASYNC, 13, 0x7f])
def test_functions_of_level_2_only(connect, function):
    s = connect()
    assert s.tmf(function) == NOT_SUPPORTED


def test_query_task(s):
    itt = waiting_write(s)
    assert s.tmf(QUERY_TASK, itt) == SUCCEEDED
    assert s.tmf(QUERY_TASK, itt + 1000) == NO_TASK
    assert s.tmf(QUERY_TASK, itt, lun=9) == NO_TASK
    assert s.tmf(1, itt, s.cmdsn - 1) == COMPLETE
    assert s.tmf(QUERY_TASK, itt) == NO_TASK


def test_query_task_set(s):
    assert s.tmf(QUERY_TASK_SET) == COMPLETE
    waiting_write(s)
    assert s.tmf(QUERY_TASK_SET) == SUCCEEDED
    assert s.tmf(QUERY_TASK_SET, lun=9) == NO_LUN


def test_query_asynchronous_event(s, connect):
    """What is pending is told, in the additional response information, and
    stays pending."""
    assert s.tmf(QUERY_ASYNC) == COMPLETE
    other = connect()
    assert other.tmf(5) == COMPLETE          # LOGICAL UNIT RESET
    for _ in range(2):
        pdu = s.request(0x02, FINAL | QUERY_ASYNC, immediate=True,
                        ttt=RESERVED_TAG, lun=lun_field(0))
        rsp = s.recv_for(pdu.itt)
        assert rsp.response == SUCCEEDED
        assert rsp.bhs[8:11] == b'\x06\x29\x03'
    s.run(TEST_UNIT_READY).check(UNIT_ATTENTION, 0x2903)
    assert s.tmf(QUERY_ASYNC) == COMPLETE


def test_nexus_reset_ends_its_own_tasks(s, connect):
    other = connect({'ImmediateData': 'No', 'InitialR2T': 'Yes'})
    mine, theirs = waiting_write(s), waiting_write(other)
    assert s.tmf(NEXUS_RESET) == COMPLETE
    assert s.tmf(QUERY_TASK, mine) == NO_TASK
    r2t_data = bytes(4096)
    assert other.tmf(1, theirs, other.cmdsn - 1) == COMPLETE
    s.clear_attention()
    s.run(write10(0, 8), r2t_data).good()


def test_command_priority_is_taken(s):
    """5.1: the field is reserved below level 2, a hint from there on."""
    pdu = s.command(TEST_UNIT_READY, response=0x05)
    assert s.finish(pdu.itt).status == GOOD
