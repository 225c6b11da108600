# SPDX-License-Identifier: BSD-3-Clause
"""What the documents say about options, keys and methods is what there is."""

import os
import re
import shutil
import subprocess

import pytest

from daemon import ROOT, RPC_PY, binary


def read(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as f:
        return f.read()


def output(*args):
    return subprocess.run([binary(), *args], stdout=subprocess.PIPE,
                          check=True).stdout.decode()


def test_every_option_is_in_the_manual():
    manual = read('man', 'iscsi_tgt.8').replace('\\&', '')
    words = set(re.findall(r'[\w-]+', manual))
    options = set(re.findall(r'(?<![\w-])-(-[\w-]+|[a-zA-Z])\b',
                             output('--help')))
    assert len(options) > 40
    # mdoc writes -x as "Fl x" and --long as "Fl -long".
    assert {o for o in options if o not in words} == set()


def test_every_key_is_in_the_manual():
    manual = read('man', 'iscsi.conf.5').replace('\\&', '')
    text = output('--help-config')
    sections = re.findall(r'^\[(\w+)\]', text, re.MULTILINE)
    keys = re.findall(r'^  (\w+)(?: |$)', text, re.MULTILINE)
    assert len(sections) > 8 and len(keys) > 40
    for section in sections:
        assert '[%s]' % section in manual, section
    for key in keys:
        assert re.search(r'\bCm %s' % key, manual), key


def test_every_range_is_in_the_manual():
    """Numbers: from, to and default, as the program has them."""
    manual = ' '.join(read('man', 'iscsi.conf.5').split())
    rows = re.findall(r'^  (\w+)  \(an integer (\d+)\.\.(\d+), default '
                      r'(\d+)\)', output('--help-config'), re.MULTILINE)
    assert len(rows) > 10
    for key, low, high, default in rows:
        entry = manual.split('.It Cm %s ' % key)[1].split('.It ')[0]
        assert 'from %s to %s' % (low, high) in entry, key
        assert 'Default: %s' % default in entry, key


def test_manuals_are_well_formed():
    if not shutil.which('mandoc'):
        pytest.skip('no mandoc here')
    for page in ('iscsi_tgt.8', 'iscsi.conf.5'):
        out = subprocess.run(
            ['mandoc', '-T', 'lint', '-W', 'warning',
             os.path.join(ROOT, 'man', page)], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT).stdout.decode()
        assert out == '', out


def test_example_configuration_is_right():
    output('--check-config', '-c', os.path.join(ROOT, 'etc', 'iscsi.conf'))


def test_commands_in_the_readme_are_known():
    """Every rpc.py line there is one that the client understands."""
    known = subprocess.run(['/usr/bin/python3', RPC_PY, '--help'],
                           stdout=subprocess.PIPE).stdout.decode()
    assert known
    methods = output('--help-rpc')
    names = set(re.findall(r'^(\w+)$', methods, re.MULTILINE)) | set(
        re.findall(r'\(earlier: (\w+)\)', methods))
    used = re.findall(r'scripts/rpc\.py (?:-\w \S+ )*(\w+)',
                      read('README.md'))
    assert len(used) >= 4
    assert {u for u in used if u not in names} <= {'load_config'}


def test_files_named_in_the_documents_exist():
    for document in ('README.md', 'SECURITY.md', 'NEWS.md', 'HACKING.md'):
        for path in re.findall(r'\]\(([\w./-]+)\)', read(document)):
            assert os.path.exists(os.path.join(ROOT, path)), (document, path)
