"""The unit: judged by systemd's own tools, and its sandbox tried on the real daemon.

No service manager runs in a test, so what the unit asks for is asked of the kernel directly, by the
same means: a seccomp filter of the same calls, the ban on writable memory that turns executable,
and a /proc that shows processes alone. Inference must give the very forecasts that it gives without.
"""

import ctypes
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import BINARY, DEPLOY, REPOSITORY, Case, run

UNIT = DEPLOY / "systemd/tickcast.service"
EXPOSURE_MAX = 1.5

PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
SCMP_ACT_ALLOW, SCMP_ACT_EPERM = 0x7FFF0000, 0x00050000 | 1
# What systemd's filter of a service never refuses, or no process would start.
ALWAYS = ["execve", "exit", "exit_group", "rt_sigreturn", "restart_syscall"]


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


def calls_of(group):
    """The calls in one of systemd's groups, those of groups inside it included."""
    listed = run("systemd-analyze", "--no-pager", "syscall-filter", group)
    calls = set()
    for line in listed.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= calls_of(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed_calls():
    """What the unit's lines of SystemCallFilter= allow, by systemd's own lists."""
    allowed = set(ALWAYS)
    for line in settings("SystemCallFilter"):
        taken = line.startswith("~")
        for word in line.removeprefix("~").split():
            calls = calls_of(word) if word.startswith("@") else {word}
            allowed = allowed - calls if taken else allowed | calls
    return allowed | set(ALWAYS)


def sandbox(calls):
    """For a child: the filter and the ban, in force from the exec on."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(SCMP_ACT_EPERM)))
    for call in calls:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            seccomp.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0)
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            os._exit(90)
        if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
            os._exit(91)
        if seccomp.seccomp_load(context) != 0:
            os._exit(92)
    return enter


class Unit(Case):
    def test_it_is_well_formed_and_exposed_as_little_as_promised(self):
        # Verified with paths that are here; the package's own may not be installed.
        copy = self.folder / "tickcast.service"
        copy.write_text(UNIT.read_text().replace("/usr/bin/tickcast", str(BINARY)))
        said = run("systemd-analyze", "verify", "--man=no", copy)
        self.assertEqual([line for line in said.splitlines() if "tickcast" in line], [])
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                   f"--threshold={int(EXPOSURE_MAX * 10)}", UNIT)
        exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])
        self.assertLessEqual(exposure, EXPOSURE_MAX)
        print(f"exposure {exposure}", end=" ", flush=True)

    def test_the_daemon_forecasts_inside_its_sandbox(self):
        self.assertEqual(settings("MemoryDenyWriteExecute"), ["yes"])
        self.assertEqual(settings("ProcSubset"), ["pid"])
        calls = allowed_calls()
        self.assertIn("futex", calls)
        self.assertIn("sched_setaffinity", calls)
        self.assertFalse(calls & {"mount", "ptrace", "bpf", "setuid", "setrlimit", "reboot"})
        forecasts = self.serve("free", None)
        self.assertGreater(forecasts.count(b"\n"), 1_000)
        self.assertEqual(self.serve("jailed", sandbox(calls)), forecasts)
        # The jail holds: what the unit forbids fails inside it.
        probe = ("import ctypes, mmap, os\n"
                 "try: os.setuid(0); print('setuid')\n"
                 "except PermissionError: pass\n"
                 "try: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC); print('wx')\n"
                 "except PermissionError: pass\n")
        probe = subprocess.run(["/usr/bin/env", "python3", "-c", probe], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               preexec_fn=sandbox(calls))
        self.assertEqual((probe.returncode, probe.stdout), (0, ""))

    def serve(self, name, enter):
        """What the daemon says of a recording, from its start to its orderly end."""
        config, output = self.folder / f"{name}.toml", self.folder / f"{name}.jsonl"
        config.write_text("\n".join([
            "source.kind = 'file'", f"source.path = '{os.environ['TICKCAST_TEST_DATA']}'",
            "source.columns = 'symbol=Ticker,time=Date,close=Close,volume=Volume'",
            f"model.root = '{REPOSITORY}/models'", "model.name = 'aapl-daily'",
            "engine.pin_threads = true", "http.bind = '127.0.0.1:0'",
            f"publish.lines = '{output}'",
        ]))
        command = [str(BINARY), "serve", "-c", str(config)]
        if enter and os.geteuid() == 0:
            # ProcSubset=pid and ProtectProc=invisible, in a mount namespace of its own.
            mounted = "mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec \"$@\""
            inner = self.folder / "enter.py"
            inner.write_text(
                "import sys\n"
                f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
                "import os, test_systemd\n"
                "enter = test_systemd.sandbox(test_systemd.allowed_calls())\n"
                "enter()\n"
                "os.execv(sys.argv[1], sys.argv[1:])\n")
            python = shutil.which("python3")
            command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", mounted, "sh",
                       python, str(inner), *command]
            enter = None
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              preexec_fn=enter)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return output.read_bytes()


if __name__ == "__main__":
    unittest.main()
