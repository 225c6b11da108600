#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Calls a running iscsi_tgt by JSON-RPC.

Commands have the names and the arguments of SPDK's rpc.py: those of 18.01
(positionals), of 18.04 (flags) and of today. A name that is not listed is sent
as it stands: rpc.py METHOD ['{"name": "value"}'].
"""

import argparse
import json
import shlex
import socket
import sys
import time

SOCKET = "/var/tmp/spdk.sock"
PORT = 5260
MIB = 1024 * 1024

# Methods in SPDK's files about things that iscsi_tgt does not have.
UNUSED_METHODS = {
    "accel_assign_opc", "accel_set_options", "bdev_iscsi_set_options",
    "bdev_nvme_set_hotplug", "bdev_nvme_set_options", "bdev_raid_set_options",
    "bdev_set_options", "dsa_scan_accel_module", "framework_set_scheduler",
    "iobuf_set_options", "ioat_scan_accel_module",
    "keyring_linux_set_options", "scheduler_set_options",
    "set_bdev_nvme_hotplug", "set_bdev_nvme_options", "set_bdev_options",
    "sock_impl_set_options", "sock_set_default_impl", "thread_set_cpumask",
}


class RpcError(Exception):
    """The server answered with an error."""

    def __init__(self, request, error):
        super().__init__(error.get("message", ""))
        self.request = request
        self.error = error

    @property
    def code(self):
        return self.error.get("code")


class Lost(Exception):
    """The connection ended before the answer came."""


class Client:
    def __init__(self, address, port, timeout, verbose):
        self.verbose = verbose
        self.timeout = timeout
        self.last_id = 0
        if address.startswith("/") or "/" in address:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection((address, port), timeout)

    def call(self, method, params=None):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "method": method, "id": self.last_id}
        if params:
            request["params"] = params
        if self.verbose:
            print("request:\n" + json.dumps(request, indent=2),
                  file=sys.stderr)
        try:
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Lost(str(error)) from error
        answer = self.receive()
        if self.verbose:
            print("response:\n" + json.dumps(answer, indent=2),
                  file=sys.stderr)
        if "error" in answer:
            raise RpcError(request, answer["error"])
        return answer["result"]

    def receive(self):
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Lost("no answer in %g s" % self.timeout)
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(1 << 20)
            except socket.timeout as error:
                raise Lost("no answer in %g s" % self.timeout) from error
            except OSError as error:
                raise Lost(str(error)) from error
            if not chunk:
                raise Lost("the connection was closed")
            data += chunk
            # Only what ends like an object can be one.
            if not chunk.rstrip().endswith(b"}"):
                continue
            try:
                return json.loads(data.decode())
            except ValueError:
                continue


# ---- Pieces of arguments.

def number(text):
    return int(text, 0)


def words(text):
    return text.split()


def pairs(text):
    """'a:1 b:2' as [("a", "1"), ("b", "2")]; the last colon counts."""
    found = []
    for word in text.split():
        left, colon, right = word.rpartition(":")
        if not colon or not left:
            raise argparse.ArgumentTypeError("'%s' is not NAME:NUMBER" % word)
        found.append((left, number(right)))
    return found


def luns(text):
    return [{"bdev_name": name, "lun_id": lun} for name, lun in pairs(text)]


def maps(text):
    return [{"pg_tag": number(pg), "ig_tag": ig} for pg, ig in pairs(text)]


def portal(text):
    text, at, mask = text.partition("@")
    host, _, port = text.rpartition(":")
    entry = {"host": host, "port": port}
    if at:
        entry["cpumask"] = mask
    return entry


def secrets(text):
    """'user:u secret:s [muser:m msecret:n],user:...'"""
    found = []
    for group in text.split(","):
        entry = {}
        for word in group.split():
            key, colon, value = word.partition(":")
            if not colon:
                raise argparse.ArgumentTypeError("'%s' is not KEY:VALUE" % word)
            entry[key] = value
        found.append(entry)
    return found


def blocks(args):
    """Size in MiB and block size, as the server wants them."""
    params = {"block_size": args.block_size,
              "num_blocks": int(args.total_size * MIB) // args.block_size}
    for key in ("name", "uuid", "physical_block_size"):
        params[key] = getattr(args, key, None)
    return params


# ---- Arguments as data: A("name", ...) is given to add_argument().

class A:
    def __init__(self, *names, **options):
        self.names = names
        self.options = options


GLOBALS = {"server_addr", "port", "timeout", "verbose", "command", "run"}


def plain(args):
    return {key: value for key, value in vars(args).items()
            if key not in GLOBALS}


class Command:
    def __init__(self, names, arguments, make, show):
        self.names = names          # all are methods of the server
        self.arguments = arguments
        self.make = make            # args -> params
        self.show = show            # result -> text or None


COMMANDS = []


def command(names, *arguments, make=plain, show=None):
    COMMANDS.append(Command(names.split(), arguments, make, show))


# ---- What is printed.

def show_json(result):
    return json.dumps(result, indent=2)


def show_names(result):
    """One name or many: quoted for the shell, in one line."""
    if isinstance(result, str):
        return shlex.quote(result)
    return " ".join(shlex.quote(name) for name in result)


def show_text(result):
    return result if isinstance(result, str) else show_json(result)


def show_versatile(result):
    return None if result is True else show_text(result)


# ---- CHAP arguments of 18.04 and later.

CHAP = (
    A("-g", "--chap-group", type=number),
    A("-d", "--disable-chap", action="store_true", default=None),
    A("-r", "--require-chap", action="store_true", default=None),
    A("-m", "--mutual-chap", action="store_true", default=None),
)

UUID = A("-u", "--uuid")
NAME = A("name")
TAG = A("tag", type=number)


# ---- Process, log.

def make_methods(args):
    return {"current": args.current, "include_aliases": args.include_aliases}


command("rpc_get_methods get_rpc_methods",
        A("-c", "--current", action="store_true", default=None),
        A("-i", "--include-aliases", action="store_true", default=None),
        make=make_methods, show=show_json)
command("spdk_get_version get_spdk_version", show=show_json)
command("spdk_kill_instance kill_instance", A("sig_name"))
command("framework_start_init start_subsystem_init")
command("framework_wait_init wait_subsystem_init")
command("framework_get_reactors", show=show_json)
command("framework_get_subsystems get_subsystems", show=show_json)
command("framework_get_config get_subsystem_config", NAME, show=show_json)
command("log_set_print_level set_log_print_level", A("level"))
command("log_get_print_level get_log_print_level", show=show_text)
command("log_set_level set_log_level", A("level"))
command("log_get_level get_log_level", show=show_text)
command("log_set_flag set_log_flag set_trace_flag", A("flag"))
command("log_clear_flag clear_log_flag clear_trace_flag", A("flag"))
command("log_get_flags get_log_flags get_trace_flags", show=show_json)

# ---- Block devices.

command("bdev_malloc_create construct_malloc_bdev",
        A("-b", "--name"), UUID,
        A("-p", "--physical-block-size", type=number),
        A("total_size", type=float, help="MiB"),
        A("block_size", type=number, help="bytes"),
        make=blocks, show=show_names)
command("bdev_malloc_delete delete_malloc_bdev bdev_null_delete "
        "delete_null_bdev bdev_aio_delete delete_aio_bdev bdev_uring_delete "
        "bdev_passthru_delete delete_passthru_bdev bdev_error_delete "
        "delete_error_bdev bdev_delay_delete bdev_aio_rescan "
        "bdev_uring_rescan bdev_error_resume_pending delete_bdev", NAME)
command("bdev_null_create construct_null_bdev",
        NAME, UUID, A("-p", "--physical-block-size", type=number),
        A("total_size", type=float, help="MiB"),
        A("block_size", type=number, help="bytes"),
        make=blocks, show=show_names)
command("bdev_null_resize", NAME, A("new_size", type=number, help="MiB"))
command("bdev_aio_create construct_aio_bdev",
        A("filename"), NAME, A("block_size", type=number, nargs="?"), UUID,
        A("-r", "--readonly", action="store_true", default=None),
        show=show_names)
command("bdev_uring_create",
        A("filename"), NAME, A("block_size", type=number, nargs="?"), UUID,
        show=show_names)
command("bdev_get_bdevs get_bdevs", A("-b", "--name"), show=show_json)
command("bdev_get_iostat get_bdevs_iostat",
        A("-b", "--name"),
        A("--names", type=lambda text: text.split(","), dest="bdev_names"),
        make=lambda args: {"name": args.name, "names": args.bdev_names},
        show=show_json)
command("bdev_reset_iostat", A("-b", "--name"))
command("bdev_wait_for_examine")
command("bdev_passthru_create construct_passthru_bdev",
        A("-b", "--base-bdev-name", required=True),
        A("-p", "--name", "--passthru-bdev-name", required=True), UUID,
        show=show_names)
command("bdev_error_create construct_error_bdev", A("base_name"), UUID)
command("bdev_error_inject_error bdev_inject_error",
        NAME, A("io_type"), A("error_type"), A("-n", "--num", type=number),
        A("-o", "--corrupt-offset", type=number),
        A("-v", "--corrupt-value", type=number))
command("bdev_delay_create",
        A("-b", "--base-bdev-name", required=True),
        A("-d", "--name", required=True),
        A("-r", "--avg-read-latency", type=number, required=True),
        A("-t", "--p99-read-latency", type=number, required=True),
        A("-w", "--avg-write-latency", type=number, required=True),
        A("-n", "--p99-write-latency", type=number, required=True), UUID,
        show=show_names)
command("bdev_delay_update_latency",
        A("delay_bdev_name"), A("latency_type"), A("latency_us", type=number))
command("bdev_split_create construct_split_vbdev",
        A("base_bdev"), A("-s", "--split-size-mb", type=number),
        A("split_count", type=number), show=show_names)
command("bdev_split_delete destruct_split_vbdev", A("base_bdev"))

# ---- Portal groups, initiator groups.


def make_portals(args):
    # 18.01: an argument each. Today: all of them in one.
    portals = [portal(word) for text in args.portals for word in text.split()]
    return {"tag": args.tag, "portals": portals, "private": args.private,
            "wait": args.wait}


command("iscsi_create_portal_group add_portal_group",
        TAG, A("portals", nargs="+", help="HOST:PORT"),
        A("-p", "--private", action="store_true", default=None),
        A("-w", "--wait", action="store_true", default=None),
        make=make_portals)
command("iscsi_start_portal_group iscsi_delete_portal_group "
        "delete_portal_group iscsi_delete_initiator_group "
        "delete_initiator_group iscsi_delete_auth_group "
        "delete_iscsi_auth_group", TAG)
command("iscsi_portal_group_set_auth", TAG, *CHAP)
command("iscsi_portal_group_set_access_state", TAG, A("access_state"))
command("iscsi_create_initiator_group add_initiator_group",
        TAG, A("initiators", type=words), A("netmasks", type=words))
command("iscsi_initiator_group_add_initiators "
        "add_initiators_to_initiator_group "
        "iscsi_initiator_group_remove_initiators "
        "delete_initiators_from_initiator_group",
        TAG, A("-n", "--initiators", type=words),
        A("-m", "--netmasks", type=words))
command("iscsi_get_portal_groups get_portal_groups "
        "iscsi_get_initiator_groups get_initiator_groups "
        "iscsi_get_target_nodes get_target_nodes "
        "iscsi_get_auth_groups get_iscsi_auth_groups "
        "iscsi_get_connections get_iscsi_connections iscsi_get_stats "
        "iscsi_get_options get_iscsi_global_params "
        "scsi_get_devices get_scsi_devices", show=show_json)

# ---- Target nodes.

OLD_CHAP = ("chap_disabled", "chap_required", "chap_mutual",
            "chap_auth_group")


def make_node(args):
    params = plain(args)
    del params["old_chap"]
    if args.old_chap:
        if len(args.old_chap) != 4:
            raise argparse.ArgumentTypeError(
                "after queue_depth come none or all of: " + " ".join(OLD_CHAP))
        params.update(zip(OLD_CHAP, args.old_chap))
    for key in ("header_digest", "data_digest"):
        if params[key] is not None:
            params[key] = bool(params[key])
    return params


command("iscsi_create_target_node construct_target_node",
        NAME, A("alias_name"),
        A("luns", type=luns, metavar="'BDEV:LUN ...'"),
        A("pg_ig_maps", type=maps, metavar="'PG:IG ...'"),
        A("queue_depth", type=number),
        A("old_chap", type=number, nargs="*", metavar="18.01",
          help=" ".join(OLD_CHAP)),
        *CHAP,
        A("-H", "--header-digest", type=number, metavar="0|1"),
        A("-D", "--data-digest", type=number, metavar="0|1"),
        make=make_node)
command("iscsi_delete_target_node delete_target_node",
        A("name", metavar="target_node_name"))
command("iscsi_target_node_add_lun target_node_add_lun",
        NAME, A("bdev_name"), A("-i", "--lun-id", type=number))
command("iscsi_target_node_remove_lun", NAME, A("lun_id", type=number))
command("iscsi_target_node_add_pg_ig_maps add_pg_ig_maps "
        "iscsi_target_node_remove_pg_ig_maps delete_pg_ig_maps",
        NAME, A("pg_ig_maps", type=maps, metavar="'PG:IG ...'"))
command("iscsi_target_node_set_auth set_iscsi_target_node_auth", NAME, *CHAP)
command("iscsi_target_node_set_redirect",
        NAME, A("pg_tag", type=number), A("-a", "--redirect-host"),
        A("-p", "--redirect-port"))
command("iscsi_target_node_request_logout",
        NAME, A("-t", "--pg-tag", type=number))

# ---- Options, authentication.

command("iscsi_set_options set_iscsi_options",
        A("-f", "--auth-file"), A("-b", "--node-base"),
        A("-o", "--nop-timeout", type=number),
        A("-n", "--nop-in-interval", type=number),
        *CHAP,
        A("-a", "--max-sessions", type=number),
        A("-q", "--max-queue-depth", type=number),
        A("-c", "--max-connections-per-session", type=number),
        A("-w", "--default-time2wait", type=number),
        A("-v", "--default-time2retain", type=number),
        A("-s", "--first-burst-length", type=number),
        A("-i", "--immediate-data", action="store_true", default=None),
        A("--no-immediate-data", action="store_false", default=None,
          dest="immediate_data"),
        A("-l", "--error-recovery-level", type=number),
        A("-p", "--allow-duplicated-isid", action="store_true",
          default=None),
        A("-x", "--max-large-datain-per-connection", type=number),
        A("-k", "--max-r2t-per-connection", type=number),
        A("-u", "--pdu-pool-size", type=number),
        A("-j", "--immediate-data-pool-size", type=number),
        A("-z", "--data-out-pool-size", type=number),
        A("--max-burst-length", type=number),
        A("--max-recv-data-segment-length", type=number),
        A("--max-outstanding-r2t", type=number),
        A("--initial-r2t", action="store_true", default=None),
        A("--login-timeout", type=number))
command("iscsi_set_discovery_auth set_iscsi_discovery_auth", *CHAP)
command("iscsi_create_auth_group add_iscsi_auth_group",
        TAG, A("-c", "--secrets", type=secrets))
command("iscsi_auth_group_add_secret add_secret_to_iscsi_auth_group",
        TAG, A("-u", "--user", required=True),
        A("-s", "--secret", required=True), A("-m", "--muser"),
        A("-r", "--msecret"))
command("iscsi_auth_group_remove_secret delete_secret_from_iscsi_auth_group",
        TAG, A("-u", "--user", required=True))


# ---- The saved configuration.

def call_either(client, new, old, params=None):
    try:
        return client.call(new, params)
    except RpcError as error:
        if error.code != -32601:
            raise
        return client.call(old, params)


def save_config(client, args):
    subsystems = []
    for entry in call_either(client, "framework_get_subsystems",
                             "get_subsystems"):
        name = entry["subsystem"]
        config = call_either(client, "framework_get_config",
                             "get_subsystem_config", {"name": name})
        if args.subsystem_with_config and not config:
            continue
        subsystems.append({"subsystem": name, "config": config})
    text = json.dumps({"subsystems": subsystems}, indent=args.indent) + "\n"
    if not args.filename:
        sys.stdout.write(text)
        return
    with open(args.filename, "w", encoding="utf-8") as file:
        file.write(text)


def allowed_methods(client):
    return set(call_either(client, "rpc_get_methods", "get_rpc_methods",
                           {"current": True, "include_aliases": True}))


def load_calls(client, calls):
    """Makes the calls that the server takes now; returns the others."""
    allowed = allowed_methods(client)
    left = []
    for entry in calls:
        method = entry["method"]
        if method in allowed:
            client.call(method, entry.get("params"))
        elif method in UNUSED_METHODS:
            print("skipped, has no use here: " + method, file=sys.stderr)
        else:
            left.append(entry)
    return left


def load_config(client, args):
    if args.filename and args.filename != "-":
        with open(args.filename, encoding="utf-8") as file:
            config = json.load(file)
    else:
        config = json.load(sys.stdin)
    calls = [entry for subsystem in config["subsystems"]
             for entry in subsystem.get("config") or []]
    calls = load_calls(client, calls)
    if "framework_start_init" in allowed_methods(client):
        client.call("framework_start_init")
        calls = load_calls(client, calls)
    if calls:
        sys.exit("the server has no method " + calls[0]["method"])


# ---- Main.

def add_config_parsers(commands):
    parser = commands.add_parser("save_config", help="prints or writes the "
                                 "configuration as JSON")
    parser.add_argument("-f", "--filename")
    parser.add_argument("-i", "--indent", type=int, default=2)
    parser.add_argument("-s", "--subsystem-with-config", action="store_true")
    parser.set_defaults(run=save_config)
    parser = commands.add_parser("load_config", help="reads it back")
    parser.add_argument("-j", "--filename", "--json_conf", "--json-conf")
    parser.set_defaults(run=load_config)


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", dest="server_addr", default=SOCKET,
                        help="socket (%(default)s), or an IP address")
    parser.add_argument("-p", dest="port", type=int, default=PORT)
    parser.add_argument("-t", dest="timeout", type=float, default=60.0)
    parser.add_argument("-v", dest="verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for entry in COMMANDS:
        for name in entry.names:
            sub = commands.add_parser(name)
            for argument in entry.arguments:
                sub.add_argument(*argument.names, **argument.options)
            sub.set_defaults(run=entry)
    add_config_parsers(commands)
    return parser, set(commands.choices)


def run_command(client, args):
    params = {key: value for key, value in args.run.make(args).items()
              if value is not None}
    try:
        result = client.call(args.command, params)
    except Lost:
        # A process that ends may do so before it answers.
        if args.command in ("kill_instance", "spdk_kill_instance"):
            return
        raise
    text = (args.run.show or show_versatile)(result)
    if text is not None:
        print(text)


def run_generic(client, method, rest):
    if len(rest) > 1:
        sys.exit("%s takes at most one argument: a JSON object" % method)
    try:
        params = json.loads(rest[0]) if rest else None
    except ValueError as error:
        sys.exit("'%s' is not JSON: %s" % (rest[0], error))
    print(show_text(client.call(method, params)))


def mend_digests(argv):
    """-H and -D: with a number in 18.01, without one ever since."""
    mended = []
    words_left = list(argv)
    names = {"-H": "--header-digest", "--header-digest": "--header-digest",
             "-D": "--data-digest", "--data-digest": "--data-digest"}
    while words_left:
        word = words_left.pop(0)
        if word not in names:
            mended.append(word)
            continue
        value = "1"
        if words_left and words_left[0] in ("0", "1"):
            value = words_left.pop(0)
        mended.append("%s=%s" % (names[word], value))
    return mended


def split_global(argv, parser, known):
    """The global arguments, then a command that no parser knows, or None."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 1 if argv[at] in ("-v", "-h", "--help") or \
            len(argv[at]) > 2 else 2
    if at >= len(argv):
        return None
    # JSON in place of the arguments is taken for every method.
    as_json = len(argv) == at + 2 and argv[at + 1].startswith("{")
    if argv[at] in known and not as_json:
        return None
    return parser.parse_args(argv[:at]), argv[at], argv[at + 1:]


def parse(argv):
    parser, known = make_parser()
    generic = split_global(argv, parser, known)
    if generic:
        return generic
    args = parser.parse_args(mend_digests(argv))
    if not args.command:
        parser.print_help()
        sys.exit(1)
    return args, None, None


def report(error):
    print("Got JSON-RPC error response", file=sys.stderr)
    print("request:\n" + json.dumps(error.request, indent=2), file=sys.stderr)
    print("response:\n" + json.dumps(error.error, indent=2), file=sys.stderr)


def main():
    args, method, rest = parse(sys.argv[1:])
    try:
        client = Client(args.server_addr, args.port, args.timeout,
                        args.verbose)
    except OSError as error:
        sys.exit("cannot connect to %s: %s" % (args.server_addr, error))
    try:
        if method:
            run_generic(client, method, rest)
        elif isinstance(args.run, Command):
            run_command(client, args)
        else:
            args.run(client, args)
    except RpcError as error:
        report(error)
        sys.exit(1)
    except Lost as error:
        sys.exit("%s: %s" % (args.server_addr, error))
    except argparse.ArgumentTypeError as error:
        sys.exit(str(error))
    except (OSError, ValueError, KeyError) as error:
        sys.exit("%s: %s" % (args.command, error))


if __name__ == "__main__":
    main()
