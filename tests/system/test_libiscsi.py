# SPDX-License-Identifier: BSD-3-Clause
"""
libiscsi's test suite (iscsi-test-cu --dataloss) against a RAM disk, one suite
of it at a time. What has to pass is listed in libiscsi_expect.txt; nothing may
hang or crash; the totals are printed and kept beside the results.

CUnit counts a skipped test as passed: here it is a [SKIPPED] line that counts.
"""

import os
import re
import subprocess

import pytest

from daemon import basic, iqn

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE_TIMEOUT = 60
# "    Test: Simple ...", its own lines, and "passed" or "FAILED".
TEST = re.compile(r'^\s*Test: (\S+) \.\.\.(.*?)(?=^\s*Test: |^Suite: |'
                  r'^Run Summary|\Z)', re.MULTILINE | re.DOTALL)
VERDICT = re.compile(r'^(passed|FAILED)', re.MULTILINE)
# Suites that want the logical unit by more than one path.
PATHS = {'MultipathIO': 2}

totals = {'passed': 0, 'failed': 0, 'skipped': 0}


def suites():
    """SUITE: [TEST, ...], without the families that repeat them."""
    out = subprocess.run(['iscsi-test-cu', '-l'], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT).stdout.decode()
    found = {}
    for line in out.split():
        parts = line.split('.')
        if parts[0] == 'ALL' and len(parts) == 3:
            found.setdefault(parts[1], []).append(parts[2])
    return found


def expected():
    """Names of tests that must pass, from the file."""
    with open(os.path.join(HERE, 'libiscsi_expect.txt'),
              encoding='ascii') as f:
        return {line.strip() for line in f
                if line.strip() and not line.startswith('#')}


def results_of(out):
    """{test: 'passed' | 'failed' | 'skipped'}"""
    results = {}
    for name, body in TEST.findall(out):
        # After the verdict come words of the suite's own end.
        verdict = VERDICT.search(body)
        if not verdict or verdict.group(1) != 'passed':
            results[name] = 'failed'
        elif '[SKIPPED]' in body[:verdict.start()]:
            results[name] = 'skipped'
        else:
            results[name] = 'passed'
    return results


@pytest.fixture(scope='module', autouse=True)
def summary(request):
    yield
    line = 'libiscsi: %(passed)d passed, %(failed)d failed, ' \
        '%(skipped)d skipped' % totals
    terminal = request.config.pluginmanager.getplugin('terminalreporter')
    with request.config.pluginmanager.getplugin(
            'capturemanager').global_and_fixture_disabled():
        terminal.write_line('')
        terminal.write_line(line)


@pytest.mark.parametrize('suite', sorted(suites()))
def test_suite(make_tgt, suite):
    # A disk of its own: some tests want to find zeroes.
    tgt = make_tgt(calls=basic(size_mib=64))
    url = 'iscsi://127.0.0.1:%d/%s/0' % (tgt.port, iqn())
    try:
        done = subprocess.run(
            ['iscsi-test-cu', '--dataloss', '--allow-sanitize', '-t',
             'ALL.' + suite] + [url] * PATHS.get(suite, 1),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=SUITE_TIMEOUT)
    except subprocess.TimeoutExpired as e:
        pytest.fail('%s hangs:\n%s' % (
            suite, (e.stdout or b'')[-4000:].decode(errors='replace')))
    out = done.stdout.decode(errors='replace')
    results = results_of(out)
    for state in results.values():
        totals[state] += 1
    # Seen with pytest -rP, to bring libiscsi_expect.txt up to date.
    for name, state in results.items():
        print('libiscsi %s %s.%s' % (state, suite, name))
    tgt.alive()
    must = {name.partition('.')[2] for name in expected()
            if name.partition('.')[0] == suite}
    not_passed = {name: results.get(name, 'not run') for name in must
                  if results.get(name) != 'passed'}
    assert not not_passed, '%s\n%s' % (not_passed, out)
    # A suite that ended early must not look like one that passed.
    assert set(results) == set(suites()[suite]), out


def test_names_of_expected_tests():
    """A name that libiscsi does not know would never be missed."""
    known = {'%s.%s' % (s, t) for s, tests in suites().items()
             for t in tests}
    assert expected() <= known
    assert expected()
