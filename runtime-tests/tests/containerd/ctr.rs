//! containerd's own client: everything a task can be asked for. Limits and
//! profiles by it are the suite `engines`' (`containerd.rs` there).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime_tests::command::{Running, wait_for};
use runtime_tests::console::Terminal;
use runtime_tests::engines::{IMAGE, Manager, cgroup_of, offered, program};
use runtime_tests::{Case, Cmd, bundle, host, leaks, paths, require, sys};

use super::node::turn;

fn ctr(c: &Case, args: &[&str]) -> Cmd {
    program(c, "ctr").args(args)
}

/// `ctr run` on the runtime, marked as the case's; flags, then image or root file system, id and command.
fn ctr_run(c: &Case, flags: &[&str]) -> Cmd {
    let run = ctr(c, &["run", "--runtime", "io.containerd.runc.v2", "--runc-binary"]).arg(paths::orlop());
    run.arg("--env").arg(format!("{}={}", leaks::MARK, c.id)).args(flags)
}

/// In the foreground, to the end, on the image.
fn run(c: &Case, flags: &[&str], script: &str) -> runtime_tests::Output {
    ctr_run(c, flags).args(["--rm", IMAGE, &c.id, "/bin/sh", "-c", script]).go()
}

/// One that runs until it is stopped.
struct Task<'c> {
    case: &'c Case,
    /// The first process.
    pid: i32,
}

impl<'c> Task<'c> {
    #[track_caller]
    fn start(case: &'c Case, flags: &[&str], command: &[&str]) -> Self {
        let file = case.dir.join("pid");
        let run = ctr_run(case, flags).arg("--pid-file").arg(&file);
        run.args(["--detach", IMAGE, &case.id]).args(command).go().ok();
        let pid = fs::read_to_string(file).expect("a pid file").trim().parse().expect("a pid");
        Self { case, pid }
    }

    fn tasks(&self, verb: &str, flags: &[&str]) -> Cmd {
        ctr(self.case, &["tasks", verb]).args(flags).arg(&self.case.id)
    }

    fn exec(&self, flags: &[&str], command: &[&str]) -> Cmd {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let name = format!("e{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        self.tasks("exec", &[&["--exec-id", &name], flags].concat()).args(command)
    }

    /// exec of a script; what it said.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        self.exec(&[], &["/bin/sh", "-c", script]).go().ok().text().to_owned()
    }

    /// RUNNING, PAUSED, STOPPED.
    #[track_caller]
    fn status(&self) -> String {
        let list = ctr(self.case, &["tasks", "ls"]).go().ok().stdout;
        let line = list.lines().find(|l| l.starts_with(&self.case.id)).expect("the task");
        line.split_whitespace().nth(2).expect("a status").to_owned()
    }

    /// Its end: `tasks delete`, which tells its exit code; and that of the container.
    #[track_caller]
    fn end(self, code: i32) {
        wait_for("the task's end", || (self.status() == "STOPPED").then_some(()));
        let deleted = self.tasks("delete", &[]).go().ok();
        assert!(code == 0 || deleted.stderr.contains(&format!("exit code {code}")), "{deleted:?}");
        ctr(self.case, &["containers", "delete", &self.case.id]).go().ok();
    }

    #[track_caller]
    fn kill(self) {
        self.tasks("kill", &["--signal", "KILL"]).go().ok();
        self.end(137);
    }
}

fn namespace(pid: &str, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace")
}

#[test]
fn run_passes_on_what_the_program_says_and_how_it_ends() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let out = run(
        &c,
        &["--env", "A=b", "--cwd", "/tmp", "--hostname", "named"],
        "echo $A $(pwd) $(hostname); echo err >&2; exit 3",
    );
    assert_eq!((&*out.stdout, &*out.stderr), ("b /tmp named\n", "err\n"));
    out.exits(3);
    assert_eq!(
        run(&c, &["--user", "1000:1000"], "id -u; id -g; kill -SEGV $$; exec sh -c 'kill -TERM $$'").stdout,
        "1000\n1000\n"
    );
    let out = run(&c, &["--cap-add", "CAP_SYS_TIME", "--cap-drop", "CAP_CHOWN"], "exec probe report").ok().last_json();
    let caps = out["caps"]["bounding"].as_array().expect("a set");
    assert!(caps.contains(&25.into()) && !caps.contains(&0.into()), "{caps:?}");
    assert_eq!(out["no_new_privs"], true);
    assert_eq!(run(&c, &["--allow-new-privs"], "exec probe report").ok().last_json()["no_new_privs"], false);
}

#[test]
fn run_mounts_what_it_is_told() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    fs::create_dir_all(c.dir.join("volume/inner")).expect("a volume");
    let volume = c.dir.join("volume");
    fs::write(volume.join("file"), "text\n").expect("a file");
    let bind = |at: &str, options: &str| format!("type=bind,src={},dst={at},options={options}", volume.display());
    let (fixed, free) = (bind("/fixed", "rbind:ro"), bind("/free", "rbind:rw"));
    let memory = "type=tmpfs,src=tmpfs,dst=/memory,options=size=1m:mode=700";
    let flags = ["--read-only", "--mount", &fixed, "--mount", &free, "--mount", memory];
    let script = "cat /fixed/file; touch /fixed/a /free/a /memory/a /a 2>&1; stat -c %a /memory; df -k /memory | tail -1 | tr -s ' ' | cut -d' ' -f2";
    let said = run(&c, &flags, script).ok().stdout;
    let (fixed, root) = ("touch: /fixed/a: Read-only file system\n", "touch: /a: Read-only file system\n");
    assert_eq!(said, format!("text\n{fixed}{root}700\n1024\n"));
    assert!(volume.join("a").exists());
    // A directory in an image's place.
    let rootfs = c.dir.join("rootfs");
    bundle::make_rootfs(&rootfs);
    let run = ctr_run(&c, &["--rm", "--rootfs"]).arg(&rootfs).args([&c.id, "/bin/touch", "/made"]);
    run.go().ok();
    assert!(rootfs.join("made").exists());
}

#[test]
fn run_joins_and_keeps_namespaces() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let one = Task::start(&c, &["--net-host"], &["sleep", "1000"]);
    let pid = one.pid.to_string();
    assert_eq!(namespace(&pid, "net"), namespace("self", "net"));
    for kind in ["pid", "ipc", "uts", "mnt"] {
        assert_ne!(namespace(&pid, kind), namespace("self", kind), "{kind}");
    }
    let second = format!("{}two", c.id);
    let of = |kind: &str, name: &str| format!("{kind}:/proc/{pid}/ns/{name}");
    let (a, b) = (of("pid", "pid"), of("uts", "uts"));
    let flags = ["--rm", "--with-ns", &a, "--with-ns", &b, IMAGE, &second];
    let joined = ctr_run(&c, &flags)
        .args(["sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; readlink /proc/self/ns/uts"])
        .go()
        .ok()
        .stdout;
    assert_eq!(joined, format!("sleep 1000 {}\n", namespace(&pid, "uts").display()));
    one.kill();
}

#[test]
fn run_has_a_user_namespace() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let flags = ["--uidmap", "0:700000:1001", "--gidmap", "0:800000:1001"];
    let one = Task::start(&c, &flags, &["sleep", "1000"]);
    let meta = fs::metadata(format!("/proc/{}", one.pid)).expect("a process");
    assert_eq!((meta.uid(), meta.gid()), (700_000, 800_000));
    assert_eq!(one.sh("id -u; stat -c %u:%g /bin/busybox; touch /made && stat -c %u:%g /made"), "0\n0:0\n0:0");
    one.kill();
}

#[test]
fn privileged_is_all_there_is() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let script = "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; test -b /dev/vda && echo disk; mount -t tmpfs none /tmp && echo mounted";
    let own = fs::read_to_string("/proc/self/status").expect("status");
    let own = own.lines().find(|l| l.starts_with("CapEff")).expect("a line");
    assert_eq!(run(&c, &["--privileged"], script).ok().stdout, format!("{own}\nSeccomp:\t0\ndisk\nmounted\n"));
    let out = run(&c, &[], "test -e /dev/vda || echo none; mount -t tmpfs none /tmp 2>&1 | grep -c denied").ok();
    assert_eq!(out.stdout, "none\n1\n");
}

#[test]
fn limits_are_those_of_the_flags() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let flags = ["--memory-limit=67108864", "--cpus=0.25", "--cpu-shares=2048", "--cpuset-cpus=0", "--cgroup"];
    let path = format!("/{}/inner", c.id);
    let one = Task::start(&c, &[&flags[..], &[&path]].concat(), &["sleep", "1000"]);
    let cgroup = cgroup_of(one.pid as u64);
    assert_eq!(cgroup, host::cgroup2().expect("cgroups").join(path.trim_start_matches('/')));
    for (file, value) in [("memory.max", "67108864"), ("cpu.max", "25000 100000"), ("cpuset.cpus", "0")] {
        assert_eq!(fs::read_to_string(cgroup.join(file)).expect(file).trim(), value, "{file}");
    }
    let weight: u32 =
        fs::read_to_string(cgroup.join("cpu.weight")).expect("a weight").trim().parse().expect("a number");
    assert!(weight > 59, "{weight}: 2048 is more than the usual 1024");
    let metrics = one.tasks("metrics", &["--format", "json"]).go().ok().json();
    assert_eq!((&metrics["memory"]["usage_limit"], &metrics["pids"]["current"]), (&67_108_864.into(), &1.into()));
    let table = one.tasks("metrics", &[]).go().ok().stdout;
    assert!(table.lines().any(|l| l.starts_with("memory.usage_in_bytes") || l.starts_with("memory.usage")), "{table}");
    one.kill();
    // Whether the runtime takes the empty one above away as well is its own affair.
    let above = cgroup.parent().expect("a parent");
    assert!(!above.exists() || fs::remove_dir(above).is_ok(), "something is left in {}", above.display());
}

#[test]
fn exec_is_another_process_of_the_task() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let one = Task::start(&c, &["--env", "A=b"], &["sleep", "1000"]);
    let flags = ["--user", "1000:1000", "--cwd", "/tmp"];
    let out = one.exec(&flags, &["sh", "-c", "id -u; id -g; pwd; echo $A; echo err >&2; exit 9"]).go().exits(9);
    assert_eq!((&*out.stdout, &*out.stderr), ("1000\n1000\n/tmp\nb\n", "err\n"));
    let (reader, writer) = sys::pipe();
    let cat = one.exec(&[], &["cat"]).stdin(reader).spawn();
    { &writer }.write_all_of("through\n");
    drop(writer);
    assert_eq!(cat.wait().ok().stdout, "through\n");
    let none = one.exec(&[], &["/nosuch"]).go().fails_with(&["/nosuch"]);
    assert!(none.stderr.to_lowercase().contains("no such file or directory"), "{none:?}");

    // One that goes on, seen by `ps`, and stopped by its name.
    one.tasks("exec", &["--exec-id", "long", "--detach"]).args(["sleep", "1001"]).go().ok();
    let ps = one.tasks("ps", &[]).go().ok().stdout;
    let pids: Vec<&str> = ps.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    assert!(pids.len() == 2 && pids.contains(&&*one.pid.to_string()), "{ps}");
    assert!(ps.contains("long"), "{ps}");
    one.tasks("kill", &["--exec-id", "long", "--signal", "USR1"]).go().ok();
    wait_for("its end", || (one.tasks("ps", &[]).go().ok().stdout.lines().count() == 2).then_some(()));
    // ctr ends as the process did: of signal 10.
    one.tasks("delete", &["--exec-id", "long"]).go().exits(138);
    assert_eq!(one.status(), "RUNNING");
    one.kill();
}

trait WriteAllOf {
    fn write_all_of(self, text: &str);
}

impl WriteAllOf for &fs::File {
    fn write_all_of(mut self, text: &str) {
        std::io::Write::write_all(&mut self, text.as_bytes()).expect("written");
    }
}

#[test]
fn signals_reach_one_or_all() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let script = "trap 'echo usr1 >>/log' USR1; trap 'exit 44' TERM; (trap 'echo child >>/log' USR1; touch /ready; while :; do sleep 0.1; done) & \
                  while :; do sleep 0.1; done";
    let one = Task::start(&c, &[], &["sh", "-c", script]);
    wait_for("it", || Path::new(&format!("/proc/{}/root/ready", one.pid)).exists().then_some(()));
    let log = || fs::read_to_string(format!("/proc/{}/root/log", one.pid)).unwrap_or_default();
    one.tasks("kill", &["--signal", "SIGUSR1"]).go().ok();
    wait_for("the word", || (log() == "usr1\n").then_some(()));
    one.tasks("kill", &["--all", "--signal", "10"]).go().ok();
    wait_for("both words", || (log().contains("child\n") && log().matches("usr1\n").count() == 2).then_some(()));
    one.tasks("kill", &["--signal", "NOSUCH"]).go().fails_with(&["NOSUCH"]);
    assert_eq!(one.status(), "RUNNING");
    one.tasks("kill", &[]).go().ok();
    one.end(44);
}

#[test]
fn a_paused_task_can_be_looked_at_and_killed() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let one = Task::start(&c, &[], &["sleep", "1000"]);
    let events = cgroup_of(one.pid as u64).join("cgroup.events");
    let frozen = || fs::read_to_string(&events).expect("events").contains("frozen 1");
    one.tasks("pause", &[]).go().ok();
    assert!(frozen());
    assert_eq!(one.status(), "PAUSED");
    assert_eq!(one.tasks("ps", &[]).go().ok().stdout.lines().count(), 2);
    one.exec(&[], &["true"]).go().fails_with(&["paused"]);
    one.tasks("resume", &[]).go().ok();
    assert!(!frozen());
    assert_eq!(one.sh("echo on"), "on");
    one.tasks("pause", &[]).go().ok();
    one.kill();
}

/// `containers create` and `tasks start` are `run`'s two halves; a task can be begun again.
#[test]
fn a_container_has_one_task_after_the_other() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let create = ctr(&c, &["containers", "create", "--runtime", "io.containerd.runc.v2", "--runc-binary"]);
    let create =
        create.arg(paths::orlop()).args([IMAGE, &c.id, "sh", "-c", "echo again >>/log; cat /log; exit $(wc -l </log)"]);
    create.go().ok();
    for n in 1..=2 {
        let out = ctr(&c, &["tasks", "start", &c.id]).go().exits(n);
        assert_eq!(out.stdout.lines().count(), usize::try_from(n).expect("a count"));
    }
    ctr(&c, &["containers", "delete", &c.id]).go().ok();
    let none = ctr(&c, &["tasks", "ls", "--quiet"]).go().ok().stdout;
    assert!(!none.contains(&c.id), "{none}");
}

// ---- terminals

/// A command on a pty of ours, of 33 rows and 101 columns. ctr leaves it its own ends of
/// lines, so that there are two carriage returns.
fn on_tty(cmd: Cmd) -> (Terminal, Running) {
    let (master, slave) = sys::open_pty();
    sys::set_tty_size(&master, 33, 101);
    let running = cmd.on_tty(&slave).spawn();
    (Terminal::new(master), running)
}

#[test]
fn run_and_exec_have_terminals() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let script = "tty; for rows in 33 44; do until [ \"$(stty size)\" = \"$rows 101\" ]; do sleep 0.1; done; echo size $rows; done
        trap 'echo caught; exit 5' INT; read line; echo got $line; while :; do sleep 0.1; done";
    let (mut terminal, running) = on_tty(ctr_run(&c, &["--rm", "--tty", IMAGE, &c.id, "sh", "-c", script]));
    assert!(terminal.expect("size 33\r").contains("/dev/"));
    // A change of size goes all the way.
    sys::set_tty_size(&terminal.master, 44, 101);
    terminal.expect("size 44\r");
    terminal.send("a line\n");
    terminal.expect("got a line\r");

    let exec = ctr(&c, &["tasks", "exec", "--exec-id", "one", "--tty", &c.id, "sh"]);
    let (mut second, exec) = on_tty(exec);
    second.send("tty; echo se''cond; exit 6\n");
    assert!(second.expect("second\r").contains("/dev/pts/"));
    exec.wait().exits(6);
    terminal.send("\x03");
    terminal.expect("caught\r");
    running.wait().exits(5);
}
