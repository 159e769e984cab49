//! A user without privileges: no root on the host, whatever it is inside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runtime_tests::console::{FdSocket, Terminal};
use runtime_tests::host::{Tester, tester};
use runtime_tests::{Case, Value, host, json, require, sys};

/// Nobody the machine knows: no name, no groups, no ranges.
const UID: u32 = 12_345;
const GID: u32 = 12_346;

fn case() -> Case {
    let mut c = Case::new();
    c.owned_by(UID, GID);
    c
}

fn tester_case() -> Case {
    let known = tester().unwrap();
    let mut c = Case::new();
    c.owned_by(known.uid, known.gid);
    for (field, own) in [("/linux/uidMappings", known.uid), ("/linux/gidMappings", known.gid)] {
        let (first, count) = known.range;
        c.set(
            field,
            json!([
                { "containerID": 0, "hostID": own, "size": 1 },
                { "containerID": 1, "hostID": first, "size": count },
            ]),
        );
    }
    c
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

// ---- one id

#[test]
fn root_of_one_id() {
    let mut c = case();
    c.sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /mine");
    let out = c.run().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "12345", "1", "0", "12346", "1", "deny"]);
    assert_eq!(owner(c.rootfs("/mine")), (UID, GID));
}

#[test]
fn the_whole_life() {
    let mut c = case();
    c.args(&["/bin/sleep", "1000"]);
    c.create().ok();
    assert_eq!(c.status(), "created");
    c.verb("start").ok();
    assert_eq!(c.status(), "running");
    let out = c.exec(&[], &["/bin/sh", "-c", "id -u; echo $$; cat /proc/self/uid_map; cat /proc/1/cmdline"]).go().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!((words[0], &words[2..5]), ("0", &["0", "12345", "1"][..]));
    assert!(out.stdout.contains("sleep"), "exec is in its pid namespace: {}", out.stdout);
    assert_eq!(c.exec(&[], &["/bin/sh", "-c", "exit 7"]).go().code(), 7);
    let detached = c.dir.join("pid");
    c.exec(&["-d", "--pid-file", detached.to_str().unwrap()], &["/bin/sleep", "1000"]).go().ok();
    let pid = fs::read_to_string(&detached).unwrap();
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(),
        fs::read_link(format!("/proc/{}/ns/pid", c.pid())).unwrap()
    );
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
}

/// As the manual has it: no flag, no root, nothing in the bundle but a rootfs.
#[test]
fn from_spec_to_run() {
    let mut c = case();
    let runtime = c.dir.join("xdg");
    fs::create_dir(&runtime).unwrap();
    sys::chown(&runtime, UID, GID);
    let orlop = |args: &[&str]| c.bare().cwd(&c.bundle).env("XDG_RUNTIME_DIR", &runtime).args(args);
    orlop(&["spec", "--rootless"]).go().ok();
    let path = c.bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "id -u; ls /sys/class >/dev/null && echo sys"]);
    fs::write(&path, config.to_string()).unwrap();
    assert_eq!(orlop(&["run", &c.id]).go().ok().text(), "0\nsys");
    assert_eq!(orlop(&["list", "-q"]).go().ok().text(), "");
    assert_eq!(owner(runtime.join("orlop")), (UID, GID));
    c.user = None;
}

#[test]
fn a_terminal() {
    let mut c = case();
    c.set("/process/terminal", json!(true));
    c.sh("tty; stat -c %u $(tty); echo to >/dev/console; exec sleep 1000");
    let socket = FdSocket::new();
    sys::chown(&socket.path, UID, GID);
    sys::chown(socket.path.parent().unwrap(), UID, GID);
    c.launch("create", &["--console-socket", socket.path.to_str().unwrap()], &c.id).go().ok();
    let mut terminal = Terminal::new(socket.take().1);
    c.verb("start").ok();
    terminal.expect("/dev/pts/0\r\n0\r\nto\r\n");
    c.delete();
}

#[test]
fn devices_are_the_hosts() {
    let mut c = case();
    let tried = ["open:/dev/null:rw", "open:/dev/zero:r", "open:/dev/urandom:r", "mknod:/disk:b:8:0"];
    let r = c.attempts(&tried);
    assert!(tried[..3].iter().all(|t| r[t] == 0), "{r}");
    assert_eq!(r[tried[3]], "EPERM");
}

#[test]
fn it_has_all_rights_inside() {
    let mut c = case();
    c.add_caps(&["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    c.sh("hostname other && hostname; ip link set lo down && echo down; mount -t tmpfs t /tmp && echo mounted");
    assert_eq!(c.run().ok().text(), "other\ndown\nmounted");
}

#[test]
fn masks_and_binds() {
    let mut c = case();
    fs::write(c.dir.join("host-file"), "seen").unwrap();
    let source = c.dir.join("host-file").to_str().unwrap().to_owned();
    c.mount("/f", "bind", &source, &["bind", "ro"]);
    c.sh("cat /f; echo x 2>/dev/null >/f || echo refused; wc -c </proc/keys; echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo no");
    assert_eq!(c.run().ok().text(), "seenrefused\n0\nno");
}

#[test]
fn attributes_of_the_process() {
    let mut c = case();
    c.set("/process/oomScoreAdj", 500)
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]));
    c.push("/linux/namespaces", json!({ "type": "time" }));
    c.set("/linux/timeOffsets", json!({ "boottime": { "secs": 100_000_000 } }));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let script = "cat /proc/1/oom_score_adj /proc/self/oom_score_adj; ulimit -n; cut -d. -f1 /proc/uptime";
    let out = c.exec(&[], &["/bin/sh", "-c", script]).go().ok();
    let numbers: Vec<u64> = out.stdout.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers[..3], [500, 500, 100]);
    assert!(numbers[3] > 100_000_000, "{numbers:?}");
    assert_eq!(fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(), "0", "the caller's own stays");
    c.delete();
    c.set("/process/oomScoreAdj", -500);
    c.create().fails_with(&["process.oomScoreAdj", "can only be raised"]);
}

#[test]
fn hooks_run_as_the_user() {
    let mut c = case();
    let out = c.dir.join("out");
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    c.set("/hooks/createRuntime", hook(&format!("id -u > {}", out.display())));
    c.set("/hooks/createContainer", hook(&format!("id -u >> {}", out.display())));
    c.run().ok();
    assert_eq!(fs::read_to_string(out).unwrap(), "12345\n0\n");
}

// ---- what it may not

#[test]
fn it_takes_a_user_namespace() {
    let mut c = case();
    c.no_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    c.create().fails_with(&["linux.namespaces: ", "needs a user namespace", "orlop spec --rootless"]);
}

#[test]
fn ids_of_others() {
    let mut c = case();
    c.set(
        "/linux/uidMappings",
        json!([
            { "containerID": 0, "hostID": UID, "size": 1 },
            { "containerID": 1, "hostID": 300_000, "size": 1000 },
        ]),
    );
    let failed = c.create().exits(1);
    match host::program("newuidmap") {
        Ok(()) => failed.says(&[
            "linux.uidMappings[1]: /etc/subuid: 12345 may not use the ids 300000 to 300999",
            "the line that allows it is 12345:300000:1000",
        ]),
        Err(_) => failed.says(&["linux.uidMappings: ", "need newuidmap, which is not there", "uidmap"]),
    };
    c.assert_nothing_left();
    // One id, but root's.
    c.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    c.create().fails_with(&["linux.uidMappings"]);
}

#[test]
fn limits_take_a_cgroup() {
    let mut c = case();
    require!(host::has_cgroup2());
    c.set("/linux/resources/pids/limit", 10);
    let failed = c.create().exits(1);
    // Natively the controller is not there, which is said first.
    if host::controller("pids").is_ok() {
        failed.says(&["cannot make the cgroup", "--systemd-cgroup"]);
    }
    c.assert_nothing_left();
    // A place was asked for.
    c.unset("/linux/resources").set("/linux/cgroupsPath", "/orlop-rootless-test");
    c.create().fails_with(&["cannot make the cgroup", "permission denied", "--systemd-cgroup"]);
}

#[test]
fn without_a_cgroup() {
    let mut c = case();
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let without = ["--rootless", "false", "create", "--bundle", c.bundle.to_str().unwrap(), "other"];
    c.orlop(&without).go().fails_with(&["cgroup"]);
    let state: Value = serde_json::from_slice(&fs::read(c.root.join(&c.id).join("state.json")).unwrap()).unwrap();
    if state["orlop"]["cgroup"].is_null() {
        c.verb("pause").fails_with(&["no cgroup"]);
        assert_eq!(c.status(), "running");
    }
    c.delete();
}

#[test]
fn idmapped_mounts_of_the_hosts() {
    let mut c = case();
    let source = c.dir.to_str().unwrap().to_owned();
    c.mount("/v", "bind", &source, &["bind", "idmap"]);
    c.create().fails_with(&["mounts[", "cannot map the ids of the mount"]);
    c.assert_nothing_left();
}

/// The container's root is the user itself outside, and no more.
#[test]
fn nothing_is_gained() {
    let mut c = case();
    let secret = c.dir.join("secret");
    fs::write(&secret, "secret").unwrap();
    sys::chown(&secret, 0, 0);
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let source = c.dir.to_str().unwrap().to_owned();
    c.mount("/host", "bind", &source, &["rbind"]);
    c.add_caps(&["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
    let tried = ["open:/host/secret:r", "open:/host/secret:w", "open:/proc/sysrq-trigger:w"];
    let r = c.attempts(&tried);
    assert!(tried[..2].iter().all(|t| r[t] == "EACCES"), "{r}");
    assert_ne!(r[tried[2]], 0);
}

// ---- root of somebody's user namespace, and no namespace of its own

/// orlop as uid 0 of a namespace that the user has made, as rootless podman does it.
fn inside(c: &Case, verb: &[&str]) -> runtime_tests::command::Cmd {
    c.write();
    let orlop = runtime_tests::paths::orlop().to_str().unwrap();
    let root = c.root.to_str().unwrap();
    c.program("unshare").args(["--user", "--map-root-user", "--mount", orlop, "--root", root]).args(verb)
}

fn nested() -> Case {
    let mut c = case();
    c.no_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    c
}

#[test]
fn in_somebodys_user_namespace() {
    let mut c = nested();
    c.push("/linux/resources/devices", json!({ "allow": false, "access": "rwm" }));
    c.set("/process/oomScoreAdj", 300);
    c.sh(
        "id -u; cat /proc/self/uid_map; echo hello >/dev/null && echo null; cat /proc/self/oom_score_adj; touch /mine",
    );
    let out = inside(&c, &["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]).go().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "12345", "1", "null", "300"]);
    assert_eq!(owner(c.rootfs("/mine")), (UID, GID));
}

#[test]
fn on_the_hosts_network_there() {
    let mut c = nested();
    c.no_namespace("network");
    c.sh("ls /sys/class/net/lo >/dev/null && echo sys; touch /sys/x 2>/dev/null || echo refused");
    let out = inside(&c, &["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]).go().ok();
    assert_eq!(out.text(), "sys\nrefused");
}

/// What is locked there is kept, not an error: podman asks for `rw`, `dev` and
/// `suid` of volumes on disks that have them not.
#[test]
fn locked_attributes_stay() {
    let mut c = nested();
    let mounted = c.dir.join("locked");
    fs::create_dir(&mounted).unwrap();
    // MS_NOSUID, MS_NODEV, MS_NOEXEC
    sys::mount("tmpfs", &mounted, "tmpfs", 2 | 4 | 8, "mode=777").unwrap();
    c.mount("/v", "bind", mounted.to_str().unwrap(), &["rbind", "suid", "dev", "exec", "rw", "strictatime"]);
    c.sh("grep ' /v ' /proc/self/mountinfo | cut -d' ' -f6; touch /v/x && echo written");
    let out = inside(&c, &["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]).go();
    sys::umount(&mounted).unwrap();
    let out = out.ok();
    for word in ["nosuid", "nodev", "noexec", "written"] {
        assert!(out.stdout.contains(word), "{word}: {}", out.stdout);
    }
}

/// The kernel shows nobody a procfs with less hidden than in the one they have.
#[test]
fn a_proc_that_is_masked() {
    let mut c = nested();
    c.write();
    let orlop = runtime_tests::paths::orlop().display();
    let script = format!(
        "mount -t tmpfs t /proc/fs
        exec setpriv --reuid={UID} --regid={GID} --clear-groups unshare --user --map-root-user --mount \
            {orlop} --root {} create --bundle {} {}",
        c.root.display(),
        c.bundle.display(),
        c.id
    );
    c.user = None;
    let out = c.program("unshare").args(["--mount", "sh", "-c", &script]).go();
    out.fails_with(&["cannot mount proc: mounts[0]: /proc: operation not permitted", "nothing is mounted over"]);
    c.assert_nothing_left();
}

// ---- ranges, and systemd

#[test]
fn ranges_of_ids() {
    require!(tester());
    let mut c = tester_case();
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] }));
    c.sh("id -u; id -g; id -G; touch /tmp/x");
    assert_eq!(c.run().ok().text(), "1000\n1000\n1000 5");
    let first = tester().unwrap().range.0;
    assert_eq!(owner(c.rootfs("/tmp/x")), (first + 999, first + 999));
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    assert_eq!(c.exec(&["--user", "7:8"], &["/bin/id", "-u"]).go().ok().text(), "7");
    c.delete();
}

#[test]
fn more_than_the_range() {
    require!(tester());
    let mut c = tester_case();
    let Tester { range: (first, count), .. } = tester().unwrap();
    c.set("/linux/gidMappings/1/size", count + 1);
    let line = format!("the line that allows it is tester:{first}:{}", count + 1);
    c.create().fails_with(&["linux.gidMappings[1]: /etc/subgid: tester may not use the ids", &line]);
}

/// Limits that hold, by the user's own systemd, called from outside of it.
#[test]
fn limits_by_the_users_systemd() {
    require!(tester());
    let mut c = tester_case();
    let uid = tester().unwrap().uid;
    let runtime = format!("/run/user/{uid}");
    require!(host::file(&format!("{runtime}/bus")));
    c.set("/linux/cgroupsPath", format!("user.slice:orlop:{}", c.id));
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } }));
    c.sh("cat /proc/self/cgroup; sleep 1000");
    c.write();
    let systemd = |args: &[&str]| c.orlop(&["--systemd-cgroup"]).env("XDG_RUNTIME_DIR", &runtime).args(args);
    systemd(&["create", "--bundle", c.bundle.to_str().unwrap(), &c.id]).go().ok();
    // The later verbs find it all by themselves.
    c.verb("start").ok();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(
        own.contains(&format!("user@{uid}.service")) && own.trim_end().ends_with(&format!("orlop-{}.scope", c.id)),
        "{own}"
    );
    let dir = Path::new("/sys/fs/cgroup").join(own.trim_end().trim_start_matches("0::/"));
    assert_eq!(fs::read_to_string(dir.join("memory.max")).unwrap().trim(), (64 << 20).to_string());
    assert_eq!(fs::read_to_string(dir.join("pids.max")).unwrap().trim(), "20");
    let exec = c.exec(&[], &["/bin/cat", "/proc/self/cgroup"]).go().ok();
    assert!(!exec.stdout.contains(".."), "exec is in the container's cgroup: {}", exec.stdout);
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume").ok();
    c.delete();
    assert!(!dir.exists());
}

/// Called from a cgroup that systemd has handed to the user, nobody need be asked.
#[test]
fn limits_in_a_delegated_cgroup() {
    require!(tester());
    let mut c = tester_case();
    let runtime = format!("/run/user/{}", tester().unwrap().uid);
    require!(host::file(&format!("{runtime}/bus")));
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } }));
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    c.sh("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; cat /proc/self/cgroup");
    c.write();
    let scope = ["--user", "--scope", "--quiet", "-p", "Delegate=yes", "--"];
    let run = c.program("systemd-run").env("XDG_RUNTIME_DIR", &runtime).args(scope).arg(runtime_tests::paths::orlop());
    let run = run.arg("--root").arg(&c.root).args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id);
    assert_eq!(run.go().ok().text(), "67108864\n20\n0::/");
}
