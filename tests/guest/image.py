# SPDX-License-Identifier: BSD-3-Clause
"""
A kernel and an initial RAM file system for guests, made of the distribution's
packages and nothing else: apt-get fetches them (as any user, from wherever it
is set up to), dpkg-deb unpacks them. Kept in a cache until a version changes.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

KERNEL = 'linux-image-cloud-amd64'
TOOLS = ('busybox-static', 'open-iscsi', 'e2fsprogs', 'xfsprogs',
         'sg3-utils', 'fio', 'util-linux', 'multipath-tools', 'udev')

# Of what the tools depend on, these are of use without an installation.
LIBRARIES = re.compile(r'(lib(?!python|perl|pam)|zlib1g$|dmsetup$|kpartx$)')

# What a guest has no use for. The first are large.
LEFT_OUT = re.compile(
    r'usr/(share|include|src|games|libexec/dpkg|lib/(perl|debug|locale))'
    r'|usr/lib/x86_64-linux-gnu/(gconv|perl|security|ceph/denc)'
    r'|(usr/)?lib/(systemd/(?!libsystemd|systemd-udevd)|modprobe\.d)'
    r'|lib/udev/hwdb|usr/lib/udev/hwdb|etc/(init|default|cron|systemd)'
    r'|boot/|lib/modules/|var/')

# Loaded at each boot, and what tests load when they need it.
MODULES_BOOT = ('virtio_pci', 'virtio_net', 'crc32c-intel', 'crc32c_generic',
                'iscsi_tcp', 'sd_mod', 'sg')
MODULES = MODULES_BOOT + ('xfs', 'dm-multipath', 'dm-round-robin',
                          'dm-service-time', 'dm-queue-length')

FETCH_TIMEOUT = 600


class Unavailable(Exception):
    """This machine cannot make an image, for a reason of one line."""


def cache_dir():
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.path.join(base, 'iscsi_tgt-guest')


def run(*cmd, cwd=None):
    done = subprocess.run(cmd, cwd=cwd, timeout=FETCH_TIMEOUT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Unavailable('%s: %s' % (
            ' '.join(cmd[:2]), (done.stderr.decode(errors='replace').strip()
                                or 'failed').splitlines()[-1]))
    return done.stdout.decode(errors='replace')


# ---- Packages.

def field(stanza, name):
    found = re.search(r'^%s: (.*)$' % name, stanza, re.MULTILINE)
    return found.group(1) if found else ''


def stanzas(names):
    """{name: stanza} of the candidate versions."""
    if not names:
        return {}
    out = run('apt-cache', 'show', '--no-all-versions', *sorted(names))
    return {field(s, 'Package'): s for s in out.split('\n\n') if s.strip()}


def depends(stanza):
    """First alternatives only: the packages' own preference."""
    both = ', '.join(filter(None, (field(stanza, 'Pre-Depends'),
                                   field(stanza, 'Depends'))))
    for one in both.split(', '):
        name = re.match(r'[a-z0-9][a-z0-9.+-]*', one)
        if name:
            yield name.group(0)


def closure():
    """{package: version} of all that goes in."""
    meta = stanzas([KERNEL])
    if KERNEL not in meta:
        raise Unavailable('no package ' + KERNEL)
    image = [d for d in depends(meta[KERNEL]) if d.startswith('linux-image')]
    found, wanted = {}, set(TOOLS) | set(image)
    while wanted:
        got = stanzas(wanted)
        following = set()
        for name, stanza in got.items():
            found[name] = field(stanza, 'Version')
            following |= {d for d in depends(stanza) if LIBRARIES.match(d)}
        missing = wanted - set(got)
        if missing:
            raise Unavailable('no package ' + min(missing))
        wanted = following - set(found)
    return found


def apt_state():
    """Changes when what apt knows does."""
    lists = '/var/lib/apt/lists'
    try:
        return sorted((e.name, e.stat().st_mtime_ns)
                      for e in os.scandir(lists) if e.is_file())
    except OSError:
        return []


def known_closure(base):
    """The closure as of apt's last update: asking takes seconds."""
    state = digest_of(repr(apt_state()))
    path = os.path.join(base, 'closure-' + state)
    try:
        with open(path, encoding='ascii') as f:
            return json.load(f)
    except (OSError, ValueError):
        found = closure()
        for old in os.listdir(base):
            if old.startswith('closure-'):
                os.unlink(os.path.join(base, old))
        with open(path + '.new', 'w', encoding='ascii') as f:
            json.dump(found, f)
        os.rename(path + '.new', path)
        return found


def fetch(packages, tmp):
    """Unpacks them, one over the other, into the directory that it gives."""
    debs, root = os.path.join(tmp, 'debs'), os.path.join(tmp, 'root')
    os.mkdir(debs)
    os.mkdir(root)
    run('apt-get', '-q', 'download',
        *('%s=%s' % p for p in sorted(packages.items())), cwd=debs)
    for deb in sorted(os.listdir(debs)):
        run('dpkg-deb', '-x', os.path.join(debs, deb), root)
    return root


# ---- Modules.

def module_name(name):
    return name.replace('-', '_')


def modules_of(root):
    """
    (release, {module: (path, [direct needs])}) from the modules' own notes,
    since depmod ran nowhere.
    """
    base = os.path.join(root, 'lib/modules')
    if not os.path.isdir(base):
        base = os.path.join(root, 'usr/lib/modules')
    release = os.listdir(base)[0]
    found = {}
    for path, _, files in os.walk(os.path.join(base, release)):
        for f in files:
            if f.endswith('.ko'):
                found[module_name(f[:-3])] = os.path.join(path, f)
    return release, found


def needs_of(path):
    with open(path, 'rb') as f:
        found = re.search(rb'\0depends=([^\0]*)\0', f.read())
    names = found.group(1).decode().split(',') if found else []
    return [module_name(n) for n in names if n]


def module_files(root):
    """
    What goes into the image for MODULES: {path: content or file}, with a
    modules.dep for modprobe. What is built in needs no file.
    """
    release, paths = modules_of(root)
    into = 'lib/modules/%s/' % release
    needs, files, wanted = {}, {}, [module_name(m) for m in MODULES]
    while wanted:
        name = wanted.pop()
        if name in needs or name not in paths:
            continue
        needs[name] = needs_of(paths[name])
        files[into + name + '.ko'] = paths[name]
        wanted += needs[name]

    def all_needs(name, seen):
        for n in needs.get(name, ()):
            if n in needs and n not in seen:
                seen.append(n)
                all_needs(n, seen)
        return seen
    # busybox's modprobe loads the list from its end: deepest last. A module
    # that others of the list need has to come after all of these.
    lines = []
    for name in sorted(needs):
        deps = sorted(all_needs(name, []),
                      key=lambda n: len(all_needs(n, [])), reverse=True)
        lines.append('%s.ko: %s\n' % (
            name, ' '.join(d + '.ko' for d in deps)))
    files[into + 'modules.dep'] = ''.join(lines).encode()
    return files


# ---- The archive.

class Cpio:
    """The "newc" format, as the kernel unpacks it."""

    def __init__(self, out):
        self.out, self.inode, self.dirs = out, 0, set()

    def entry(self, name, mode, data=b'', device=(0, 0)):
        self.inode += 1
        raw = name.encode() + b'\0'
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0,
                  device[0], device[1], len(raw), 0)
        head = b'070701' + b''.join(b'%08X' % f for f in fields) + raw
        self.out.write(head + b'\0' * (-len(head) % 4))
        self.out.write(data + b'\0' * (-len(data) % 4))

    def parents(self, name):
        parts = name.split('/')[:-1]
        for n in range(1, len(parts) + 1):
            self.directory('/'.join(parts[:n]))

    def directory(self, name, mode=0o755):
        if name not in self.dirs:
            self.parents(name)
            self.dirs.add(name)
            self.entry(name, stat.S_IFDIR | mode)

    def file(self, name, data, mode=0o644):
        self.parents(name)
        self.entry(name, stat.S_IFREG | mode, data)

    def link(self, name, to):
        self.parents(name)
        self.entry(name, stat.S_IFLNK | 0o777, to.encode())

    def end(self):
        self.entry('TRAILER!!!', 0)


def add_tree(cpio, root, have):
    for path, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(files) + [d for d in dirs if os.path.islink(
                os.path.join(path, d))]:
            full = os.path.join(path, name)
            inside = os.path.relpath(full, root)
            if LEFT_OUT.match(inside) or inside in have:
                continue
            have.add(inside)
            if os.path.islink(full):
                cpio.link(inside, os.readlink(full))
            elif os.path.isfile(full):
                with open(full, 'rb') as f:
                    cpio.file(inside, f.read(), os.stat(full).st_mode & 0o777)


def add_busybox(cpio, root, have):
    """Its applets, where no package brings the real thing."""
    busybox = os.path.join(root, 'bin/busybox')
    if not os.path.exists(busybox):
        busybox = os.path.join(root, 'usr/bin/busybox')
    for path in run(busybox, '--list-full').split():
        name = os.path.basename(path)
        if not any('%s/%s' % (d, name) in have for d in
                   ('bin', 'sbin', 'usr/bin', 'usr/sbin')):
            cpio.link(path, '/bin/busybox')
            have.add(path)


def write_image(root, path):
    with open(path, 'wb') as out:
        cpio, have = Cpio(out), {'init'}
        for d in ('dev', 'proc', 'sys', 'run/lock', 'tmp', 'mnt', 'root',
                  'var/lib', 'var/log', 'etc/iscsi'):
            cpio.directory(d)
        with open(os.path.join(HERE, 'init.sh'), 'rb') as f:
            cpio.file('init', f.read(), 0o755)
        # The console is wanted before there is a devtmpfs.
        cpio.entry('dev/console', stat.S_IFCHR | 0o600, device=(5, 1))
        for inside, what in sorted(module_files(root).items()):
            if isinstance(what, str):
                with open(what, 'rb') as f:
                    what = f.read()
            cpio.file(inside, what)
        cpio.file('etc/modules', ' '.join(MODULES_BOOT).encode() + b'\n')
        cpio.file('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n')
        cpio.file('etc/group', b'root:x:0:\ndisk:x:6:\n')
        cpio.file('etc/nsswitch.conf', b'passwd: files\nhosts: files\n')
        cpio.link('etc/mtab', '/proc/mounts')
        cpio.link('var/run', '/run')
        have |= {'etc/passwd', 'etc/group', 'etc/nsswitch.conf', 'etc/mtab'}
        add_tree(cpio, root, have)
        add_busybox(cpio, root, have)
        cpio.end()


def kernel_of(root):
    boot = os.path.join(root, 'boot')
    return os.path.join(boot, next(f for f in sorted(os.listdir(boot))
                                   if f.startswith('vmlinuz-')))


def digest_of(text=''):
    """Of @text and of these sources."""
    digest = hashlib.sha256(text.encode())
    for name in ('image.py', 'init.sh'):
        with open(os.path.join(HERE, name), 'rb') as f:
            digest.update(f.read())
    return digest.hexdigest()[:16]


def make(packages, into):
    """In a directory beside it first, so that half an image is never used."""
    tmp = tempfile.mkdtemp(prefix='tmp.', dir=os.path.dirname(into))
    try:
        root = fetch(packages, tmp)
        done = os.path.join(tmp, 'done')
        os.mkdir(done)
        shutil.copyfile(kernel_of(root), os.path.join(done, 'kernel'))
        write_image(root, os.path.join(done, 'initrd'))
        os.rename(done, into)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def forget_others(base):
    """Images of other versions."""
    for old in os.scandir(base):
        if old.is_dir():
            shutil.rmtree(old.path, ignore_errors=True)


def image():
    """(kernel, initrd): paths, from the cache or made now."""
    for tool in ('apt-get', 'apt-cache', 'dpkg-deb'):
        if not shutil.which(tool):
            raise Unavailable('no %s here' % tool)
    base = cache_dir()
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, 'lock'), 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = known_closure(base)
        into = os.path.join(base, digest_of(repr(sorted(packages.items()))))
        if not os.path.isdir(into):
            forget_others(base)
            make(packages, into)
    return os.path.join(into, 'kernel'), os.path.join(into, 'initrd')


if __name__ == '__main__':
    print(*image(), sep='\n')
