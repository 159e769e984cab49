//! User namespaces: ids of the container's own, and mounts that show them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use runtime_tests::case::give;
use runtime_tests::{Case, Value, host, json, require, sys};

/// Where the container's ids begin on the host.
const BASE: u32 = 100_000;
const COUNT: u32 = 65_536;

const KILL: i32 = 9;

fn maps() -> Value {
    json!([{ "containerID": 0, "hostID": BASE, "size": COUNT }])
}

/// A case with a user namespace and a rootfs that is its root's.
fn case() -> Case {
    let mut c = Case::new();
    c.push("/linux/namespaces", json!({ "type": "user" }));
    c.set("/linux/uidMappings", maps()).set("/linux/gidMappings", maps());
    give(&c.rootfs("/"), BASE, BASE);
    c
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

#[test]
fn root_inside_is_nobody_special_outside() {
    let mut c = case();
    c.sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /mine");
    let out = c.run().ok();
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "100000", "65536", "0", "100000", "65536", "allow"]);
    assert_eq!(owner(c.rootfs("/mine")), (BASE, BASE));
}

#[test]
fn all_namespaces_are_its_own() {
    let mut c = case();
    // Each of these takes a right over the namespace, which its owner has.
    c.add_caps(&["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    c.sh("hostname other && hostname; ip link set lo down && echo down; mount -t tmpfs t /tmp && echo mounted
        mount -t proc p /tmp && echo proc");
    assert_eq!(c.run().ok().text(), "other\ndown\nmounted\nproc");
}

#[test]
fn rights_end_at_the_namespace() {
    let mut c = case();
    fs::write(c.rootfs("/roots"), "secret").unwrap();
    sys::chown(c.rootfs("/roots"), 0, 0);
    fs::set_permissions(c.rootfs("/roots"), fs::Permissions::from_mode(0o600)).unwrap();
    c.add_caps(&["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_TIME", "CAP_SYS_RAWIO"]);
    let attack = ["open:/roots:r", "open:/roots:w", "mknod:/disk:b:8:0", "open:/proc/sysrq-trigger:w"];
    let r = c.attempts(&attack);
    assert_eq!(r[attack[0]], "EACCES", "{r}");
    assert_eq!(r[attack[1]], "EACCES", "{r}");
    assert_eq!(r[attack[2]], "EPERM", "{r}");
    assert_ne!(r[attack[3]], 0, "{r}");
    assert!(!c.rootfs("/disk").exists());
}

#[test]
fn users_and_groups() {
    let mut c = case();
    c.set("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": [7, 8] }));
    c.sh("id -u; id -g; id -G; touch /tmp/x; echo to /dev/stdout >> /dev/stdout");
    assert_eq!(c.run().ok().text(), "5\n6\n6 7 8\nto /dev/stdout");
    assert_eq!(owner(c.rootfs("/tmp/x")), (BASE + 5, BASE + 6));
}

#[test]
fn exec_joins_it() {
    let mut c = case();
    c.set("/process/user", json!({ "uid": 5, "gid": 6 })).args(&["/bin/sleep", "1000"]);
    c.start();
    let id = |flags: &[&str]| c.exec(flags, &["/bin/sh", "-c", "id -u; id -g; echo to >> /dev/stdout"]).go().ok();
    assert_eq!(id(&[]).text(), "5\n6\nto");
    assert_eq!(id(&["--user", "0:0"]).text(), "0\n0\nto");
    let unknown = c.exec(&["--user", "70000"], &["/bin/true"]).go().exits(255);
    unknown.says(&["process.user.uid: 70000 is not in linux.uidMappings"]);
    // The same namespaces, and no more rights outside than init has.
    let r = c.exec_probe(&["--user", "0:0"], &["report"]);
    let of_init = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
    assert_eq!(r["namespaces"]["user"], of_init.to_string_lossy().as_ref());
    c.delete();
}

#[test]
fn a_terminal_is_the_users() {
    let mut c = case();
    c.set("/process/terminal", json!(true)).set("/process/user", json!({ "uid": 5, "gid": 6 }));
    c.sh("tty; stat -c %u $(tty); echo to > /dev/console && echo written");
    let out = c.run().ok();
    let lines: Vec<&str> = out.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, ["/dev/pts/0", "5", "to", "written"]);
}

#[test]
fn nothing_on_the_way_need_be_open_to_it() {
    let mut c = case();
    let dir = c.dir.join("private");
    fs::create_dir_all(dir.join("volume")).unwrap();
    fs::write(dir.join("volume/file"), "seen").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&c.bundle, fs::Permissions::from_mode(0o700)).unwrap();
    let source = dir.join("volume").to_string_lossy().into_owned();
    c.mount("/v", "bind", &source, &["rbind", "ro"]);
    c.sh("cat /v/file; touch /v/x 2>/dev/null || echo refused; ls /dev/null; grep -c ' / ' /proc/self/mountinfo");
    let out = c.run().ok();
    assert!(out.stdout.starts_with("seenrefused\n/dev/null\n"), "{}", out.stdout);
}

#[test]
fn usual_devices_are_the_hosts() {
    let mut c = case();
    c.push("/linux/devices", json!({ "path": "/dev/full", "type": "c", "major": 1, "minor": 7 }));
    let r = c.attempts(&["open:/dev/null:rw", "open:/dev/zero:r", "open:/dev/urandom:r", "open:/dev/full:w"]);
    assert!(r.as_object().unwrap().values().all(|v| v == 0), "{r}");
    // One that the host has not, or under another number, cannot be had.
    let mut c = case();
    c.push("/linux/devices", json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 99 }));
    c.run().fails_with(&["linux.devices[0]", "/dev/zero", "the host's node is 1:5"]);
    c.assert_nothing_left();
}

#[test]
fn hooks_see_both_sides() {
    let mut c = case();
    let out = c.dir.join("out");
    fs::write(&out, "").unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o666)).unwrap();
    let hook = |what: &str| {
        let script =
            format!("echo {what} $(id -u) $(readlink /proc/self/ns/user) >> {}; cat > /dev/null", out.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    let inside =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; echo inside $(id -u) > /tmp/hook"] }]);
    c.set(
        "/hooks",
        json!({
            "createRuntime": hook("runtime"), "createContainer": hook("container"), "startContainer": inside,
            "poststart": hook("poststart"), "poststop": hook("poststop"),
        }),
    );
    c.sh("readlink /proc/self/ns/user; cat /tmp/hook");
    let text = c.run().ok().stdout;
    let (own, hook) = text.split_once('\n').unwrap();
    assert_eq!(hook.trim(), "inside 0");
    let host = fs::read_link("/proc/self/ns/user").unwrap().to_string_lossy().into_owned();
    let wanted = format!("runtime 0 {host}\ncontainer 0 {own}\npoststart 0 {host}\npoststop 0 {host}\n");
    assert_eq!(fs::read_to_string(out).unwrap(), wanted);
}

#[test]
fn what_is_the_machines_is_set_from_outside() {
    let mut c = case();
    c.set("/process/oomScoreAdj", json!(321));
    c.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]));
    c.push("/linux/namespaces", json!({ "type": "time" }));
    c.set("/linux/timeOffsets", json!({ "boottime": { "secs": 500_000 } }));
    c.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4242" }));
    c.sh("cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; cat /proc/uptime | cut -d. -f1
        cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax");
    let out = c.run().ok();
    let numbers: Vec<u64> = out.stdout.split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!(numbers[..3], [321, 100, 200], "{numbers:?}");
    assert!(numbers[3] > 500_000, "{numbers:?}");
    assert_eq!(numbers[4..], [1, 4242], "{numbers:?}");
}

#[test]
fn limits_are_raised_and_scores_lowered_by_who_may() {
    require!(host::sys_resource());
    let mut c = case();
    c.set("/process/oomScoreAdj", json!(-500));
    let much = 1_000_000;
    c.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": much, "hard": much }]));
    c.set("/process/user", json!({ "uid": 5, "gid": 6 }));
    let script = "cat /proc/self/oom_score_adj; ulimit -Hn";
    c.sh(&format!("{script}; sleep 1000"));
    let out = c.start_with_output();
    runtime_tests::command::wait_for("its output", || {
        (fs::read_to_string(&out).unwrap().lines().count() == 2).then_some(())
    });
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("-500\n{much}\n"));
    assert_eq!(c.exec(&[], &["/bin/sh", "-c", script]).go().ok().text(), format!("-500\n{much}"));
    c.delete();
}

#[test]
fn the_cgroup_is_handed_over_as_the_host_numbers_it() {
    require!(host::has_cgroup2());
    let mut c = case();
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"]);
    c.set("/process/user", json!({ "uid": 5, "gid": 6 }));
    c.sh("mkdir /sys/fs/cgroup/sub && echo $$ > /sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup | grep 0::");
    assert_eq!(c.run().ok().text(), "0::/sub");
}

#[test]
fn with_the_hosts_network() {
    let mut c = case();
    c.no_namespace("network");
    c.sh("ls /sys/class/net/lo/address; touch /sys/x 2>/dev/null || echo refused; grep -c ' /sys .*ro,' /proc/self/mounts");
    let out = c.run().ok();
    assert!(out.stdout.starts_with("/sys/class/net/lo/address\nrefused\n"), "{}", out.stdout);
    let mounts = out.stdout.lines().last().unwrap().parse::<u32>().unwrap();
    assert!(mounts >= 1, "{}", out.stdout);
}

#[test]
fn several_ranges_and_no_root() {
    let mut c = case();
    let map = json!([
        { "containerID": 10, "hostID": BASE, "size": 5 },
        { "containerID": 1000, "hostID": BASE + 50, "size": 3 },
    ]);
    c.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    c.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    // devpts would give its terminals to group 5, which is nobody here.
    c.replace_mount("/dev/pts", None);
    c.sh("id -u; id -g; cat /proc/self/uid_map | wc -l; touch /tmp/x");
    assert_eq!(c.run().ok().text(), "1001\n1002\n2");
    assert_eq!(owner(c.rootfs("/tmp/x")), (BASE + 51, BASE + 52));
}

#[test]
fn failures_leave_nothing() {
    for (pointer, value, text) in [
        ("/process/args", json!(["/nonexistent"]), "no such file"),
        ("/mounts/1/options", json!(["size=rubbish"]), "mounts[1]"),
        ("/linux/devices", json!([{ "path": "/dev/fifo", "type": "b", "major": 77, "minor": 1 }]), "linux.devices[0]"),
    ] {
        let mut c = case();
        c.set(pointer, value);
        c.create().fails_with(&[text]);
        c.assert_nothing_left();
    }
}

// ---- joined by path

/// A process in a user namespace of its own with the usual maps, and a
/// network namespace that belongs to it.
fn sandbox(c: &Case, mapped: bool) -> runtime_tests::command::Running {
    let running = c.program("unshare").args(["--user", "--net", "sleep", "1000"]).spawn();
    let pid = running.pid();
    let host = fs::read_link("/proc/self/ns/user").unwrap();
    runtime_tests::command::wait_for("the sandbox", || {
        (fs::read_link(format!("/proc/{pid}/ns/net")).ok()? != fs::read_link("/proc/self/ns/net").ok()?
            && fs::read_link(format!("/proc/{pid}/ns/user")).ok()? != host)
            .then_some(())
    });
    if mapped {
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{pid}/{map}"), format!("0 {BASE} {COUNT}\n")).unwrap();
        }
    }
    running
}

/// The case joins a sandbox's user and network namespaces.
fn join(c: &mut Case, pid: i32) {
    c.join_namespace("user", &format!("/proc/{pid}/ns/user"));
    c.join_namespace("network", &format!("/proc/{pid}/ns/net"));
}

/// A new one beside namespaces that are the host's: podman joins a network by path.
#[test]
fn beside_namespaces_of_the_hosts() {
    let mut c = case();
    let other = c.program("unshare").args(["--net", "--ipc", "--uts", "--cgroup", "sleep", "1000"]).spawn();
    let kinds = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}"));
    let pid = other.child.id().to_string();
    runtime_tests::command::wait_for("the namespaces", || {
        kinds.iter().all(|(_, name)| link(&pid, name).unwrap() != link("self", name).unwrap()).then_some(())
    });
    for (kind, name) in kinds {
        c.join_namespace(kind, &format!("/proc/{pid}/ns/{name}"));
    }
    // Who does not own the ipc namespace mounts no mqueue.
    c.unset("/hostname").replace_mount("/dev/mqueue", None);
    // Nor who does not own the cgroup namespace a cgroup2: it gets its own cgroup.
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let own = c.pid().to_string();
    for (_, name) in kinds {
        assert_eq!(link(&own, name).unwrap(), link(&pid, name).unwrap(), "{name}");
    }
    assert_ne!(link(&own, "user").unwrap(), link("self", "user").unwrap());
    let procs = c.exec(&[], &["/bin/cat", "/sys/fs/cgroup/cgroup.procs"]).go().ok();
    assert!(procs.stdout.lines().any(|l| l == "1"), "{}", procs.stdout);
    c.delete();
    // Nor has its root any right over them.
    c.add_caps(&["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
    c.sh("hostname other 2>/dev/null || ip link set lo up 2>/dev/null || echo refused");
    assert_eq!(c.run().ok().text(), "refused");
    sys::kill(other.child.id().cast_signed(), KILL).unwrap();
    other.wait();
}

#[test]
fn a_pods_second_container() {
    let mut c = case();
    let sandbox = sandbox(&c, true);
    join(&mut c, sandbox.pid());
    for given in [true, false] {
        if !given {
            c.unset("/linux/uidMappings").unset("/linux/gidMappings");
        }
        let volume = c.dir.join(format!("volume{given}"));
        fs::create_dir(&volume).unwrap();
        c.mount(&format!("/v{given}"), "bind", &volume.to_string_lossy(), &["bind", "idmap"]);
        c.set("/process/user", json!({ "uid": 5, "gid": 6 }));
        c.sh("id -u; readlink /proc/self/ns/user; touch /tmp/x; echo to >> /dev/stdout; sleep 1000");
        let out = c.start_with_output();
        let lines = || fs::read_to_string(&out).unwrap();
        runtime_tests::command::wait_for("its output", || (lines().lines().count() == 3).then_some(()));
        let own = fs::read_link(format!("/proc/{}/ns/user", sandbox.pid())).unwrap();
        assert_eq!(lines(), format!("5\n{}\nto\n", own.display()));
        assert_eq!(owner(c.rootfs("/tmp/x")), (BASE + 5, BASE + 6));
        // Its other namespaces belong to that one, so it may do as it likes with them.
        let root = ["--user", "0:0", "--cap", "CAP_SYS_ADMIN"];
        c.exec(&root, &["/bin/sh", "-c", "hostname other && mount -t tmpfs t /tmp"]).go().ok();
        // init has no other parent than the one that made it.
        assert_eq!(c.state()["status"], "running");
        c.delete();
        fs::remove_file(c.rootfs("/tmp/x")).unwrap();
    }
    sys::kill(sandbox.pid(), KILL).unwrap();
    sandbox.wait();
}

#[test]
fn other_maps_than_the_configs_are_refused() {
    let mut c = case();
    let sandbox = sandbox(&c, true);
    join(&mut c, sandbox.pid());
    c.set("/linux/uidMappings/0/hostID", json!(BASE + 1));
    let out = c.create();
    out.fails_with(&["linux.uidMappings", "another map: 0 100000 65536"]);
    c.set("/linux/uidMappings/0/hostID", json!(BASE)).set("/process/user/uid", json!(70_000));
    c.unset("/linux/uidMappings").unset("/linux/gidMappings");
    c.create().fails_with(&["process.user.uid: 70000"]);
    sys::kill(sandbox.pid(), KILL).unwrap();
    sandbox.wait();
    c.assert_nothing_left();
}

// ---- id-mapped mounts

/// A directory with files of root and of user 1000.
fn volume(c: &Case) -> String {
    let dir = c.dir.join("volume");
    fs::create_dir(&dir).unwrap();
    for (name, id) in [("root", 0), ("user", 1000)] {
        fs::write(dir.join(name), name).unwrap();
        sys::chown(dir.join(name), id, id);
    }
    dir.to_string_lossy().into_owned()
}

const OWNERS: &str = "stat -c %n:%u:%g root user";

#[test]
fn as_the_container_has_them() {
    let mut c = case();
    let volume = volume(&c);
    c.mount("/v", "bind", &volume, &["rbind", "idmap"]).mount("/plain", "bind", &volume, &["rbind"]);
    c.sh(&format!("cd /v && {OWNERS} && touch new; cd /plain && {OWNERS}"));
    let out = c.run().ok();
    assert_eq!(out.text(), "root:0:0\nuser:1000:1000\nroot:65534:65534\nuser:65534:65534");
    assert_eq!(owner(Path::new(&volume).join("new")), (0, 0));
    assert_eq!(owner(Path::new(&volume).join("user")), (1000, 1000), "shown as another's, not given away");
}

#[test]
fn with_maps_of_its_own_and_no_user_namespace() {
    for (options, own) in [
        (vec!["bind", "idmap"], true),
        (vec!["rbind", "ridmap", "ro"], true),
        (vec!["bind", "idmap=uids=0-500-10#1000-77-1;gids=0-0-10#1000-78-1"], false),
    ] {
        let mut c = Case::new();
        let mut mount = runtime_tests::bundle::mount("/v", "bind", &volume(&c), &options);
        if own {
            mount["uidMappings"] = json!([{ "containerID": 0, "hostID": 500, "size": 10 },
                                          { "containerID": 1000, "hostID": 77, "size": 1 }]);
            mount["gidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 10 },
                                          { "containerID": 1000, "hostID": 78, "size": 1 }]);
        }
        c.push("/mounts", mount);
        c.sh(&format!("cd /v && {OWNERS}; touch root 2>/dev/null && echo touched"));
        let touched = if options.contains(&"ro") { "" } else { "\ntouched" };
        assert_eq!(c.run().text(), format!("root:500:0\nuser:77:78{touched}"), "{options:?}");
    }
}

/// Whatever else a mount is to be; and on each filesystem this machine can make.
#[test]
fn with_other_options_and_filesystems() {
    for more in ["ro", "rro", "rslave", "rshared", "runbindable", "nosuid"] {
        let mut c = case();
        let volume = volume(&c);
        c.mount("/v", "bind", &volume, &["rbind", "idmap", more]);
        c.sh(&format!("cd /v && {OWNERS}"));
        assert_eq!(c.run().ok().text(), "root:0:0\nuser:1000:1000", "{more}");
    }
    for kind in ["tmpfs", "ext4", "xfs", "btrfs", "vfat"] {
        let mut c = case();
        let (at, disk) = (c.dir.join("disk"), c.dir.join("image"));
        fs::create_dir(&at).unwrap();
        if kind == "tmpfs" {
            sys::mount("t", &at, "tmpfs", 0, "mode=755").unwrap();
        } else {
            fs::File::create(&disk).unwrap().set_len(300 << 20).unwrap();
            let make = |c: &Case| {
                host::program(&format!("mkfs.{kind}"))?;
                let made = c.program(&format!("mkfs.{kind}")).arg(&disk).go();
                let mounted = c.program("mount").args(["-o", "loop"]).arg(&disk).arg(&at).go();
                if made.code() == 0 && mounted.code() == 0 { Ok(()) } else { Err("not in this kernel".to_owned()) }
            };
            if let Err(why) = make(&c) {
                host::report_part("with_other_options_and_filesystems", kind, &why);
                continue;
            }
        }
        fs::create_dir(at.join("d")).unwrap();
        c.mount("/v", "bind", at.join("d").to_str().unwrap(), &["bind", "idmap"]);
        c.sh("stat -c %u:%g /v; touch /v/new && echo made");
        let out = c.run();
        let owner = fs::symlink_metadata(at.join("d/new")).map(|m| m.uid());
        sys::umount(&at).unwrap();
        assert_eq!((out.ok().text(), owner.unwrap()), ("0:0\nmade", 0), "{kind}");
    }
}

#[test]
fn maps_without_the_option_are_not_passed_over() {
    let mut c = Case::new();
    let mut mount = runtime_tests::bundle::mount("/v", "bind", &volume(&c), &["bind"]);
    let map = json!([{ "containerID": 0, "hostID": 500, "size": 1001 }]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    c.push("/mounts", mount);
    c.sh(&format!("cd /v && {OWNERS}"));
    assert_eq!(c.run().ok().text(), "root:500:500\nuser:1500:1500");
}

#[test]
fn relative_to_the_containers_own() {
    let mut c = case();
    let volume = volume(&c);
    c.mount("/v", "bind", &volume, &["bind", "idmap=uids=@0-20-1#@1000-30-1;gids=@0-21-1#@1000-31-1"]);
    c.sh(&format!("cd /v && {OWNERS}"));
    assert_eq!(c.run().ok().text(), "root:20:21\nuser:30:31");
}

#[test]
fn a_filesystem_that_cannot_is_named() {
    let mut c = case();
    c.mount("/v", "bind", "/proc/tty", &["bind", "idmap"]);
    c.create().fails_with(&["mounts[6]", "/v", "proc has no id-mapped mounts"]);
    c.assert_nothing_left();
}

#[test]
fn the_whole_tree_or_its_top() {
    let mut c = case();
    let top = volume(&c);
    let sub = Path::new(&top).join("sub");
    fs::create_dir(&sub).unwrap();
    sys::mount("t", &sub, "tmpfs", 0, "mode=755").unwrap();
    fs::write(sub.join("file"), "").unwrap();
    c.mount("/one", "bind", &top, &["rbind", "idmap"]).mount("/all", "bind", &top, &["rbind", "ridmap"]);
    c.sh("stat -c %u /one/root /one/sub/file /all/root /all/sub/file");
    let out = c.run();
    sys::umount(&sub).unwrap();
    // tmpfs can be id-mapped since Linux 6.3.
    assert_eq!(out.ok().text(), "0\n65534\n0\n0");
}

// ---- bad input

#[track_caller]
fn refused(change: impl FnOnce(&mut Case), texts: &[&str]) {
    let mut c = case();
    change(&mut c);
    c.create().fails_with(texts);
    c.assert_nothing_left();
}

/// The end of a change.
fn set(_: &mut Case) {}

#[test]
fn bad_maps() {
    let range =
        |container: u32, host: u32, size: u32| json!({ "containerID": container, "hostID": host, "size": size });
    refused(|c| set(c.set("/linux/uidMappings", json!([]))), &["linux.uidMappings", "missing"]);
    refused(|c| set(c.set("/linux/gidMappings", json!([range(0, 5, 0)]))), &["linux.gidMappings[0].size", "0 ids"]);
    let twice = json!([range(0, 5, 10), range(9, 50, 10)]);
    refused(|c| set(c.set("/linux/uidMappings", twice)), &["linux.uidMappings[1]", "container ids of [0]"]);
    let twice = json!([range(0, 5, 10), range(10, 14, 10)]);
    refused(|c| set(c.set("/linux/uidMappings", twice)), &["linux.uidMappings[1]", "host ids of [0]"]);
    refused(|c| set(c.set("/linux/uidMappings", json!([range(0, 5, u32::MAX)]))), &["linux.uidMappings[0].hostID"]);
    let many: Vec<Value> = (0..341).map(|i| range(i * 2, i * 2, 1)).collect();
    refused(|c| set(c.set("/linux/uidMappings", json!(many))), &["linux.uidMappings", "341 ranges", "340"]);
    let long: Vec<Value> = (0..300).map(|i| range(1_000_000 + i * 2, 1_000_000 + i * 2, 1)).collect();
    refused(|c| set(c.set("/linux/gidMappings", json!(long))), &["linux.gidMappings", "5400 bytes", "4095"]);
    let one = json!([range(0, 5, 1)]);
    refused(|c| set(c.set("/linux/gidMappings", one)), &["mounts[2].options: gid=5", "linux.gidMappings"]);
    refused(|c| set(c.set("/process/user/uid", json!(70_000))), &["process.user.uid: 70000", "linux.uidMappings"]);
    let groups = json!([1, 70_000]);
    refused(|c| set(c.set("/process/user/additionalGids", groups)), &["process.user.additionalGids[1]: 70000"]);
    let mut c = Case::new();
    c.set("/linux/uidMappings", maps());
    c.create().fails_with(&["linux.uidMappings: needs a user namespace"]);
    c.assert_nothing_left();
}

#[test]
fn the_largest_map_the_kernel_takes() {
    let mut c = case();
    let many: Vec<Value> =
        (0..340).map(|i| json!({ "containerID": i * 2, "hostID": 2000 + i * 2, "size": 1 })).collect();
    give(&c.rootfs("/"), 2000, 2000);
    c.set("/linux/uidMappings", json!(many)).sh("wc -l < /proc/self/uid_map");
    assert_eq!(c.run().ok().text(), "340");
}

#[test]
fn bad_id_mapped_mounts() {
    let mount = |kind: &'static str, options: &'static [&'static str]| {
        move |c: &mut Case| set(c.mount("/v", kind, "/etc", options))
    };
    refused(mount("tmpfs", &["idmap"]), &["mounts[6].options[0]", "only bind mounts"]);
    refused(mount("bind", &["bind", "idmap=uids=0-1-2"]), &["mounts[6].options[1]", "gids="]);
    refused(mount("bind", &["bind", "idmap=uids=x;gids=0-0-1"]), &["mounts[6].options[1]", "FIRST-FIRST-COUNT"]);
    refused(mount("bind", &["bind", "idmap=uids=@0-70000-1;gids=0-0-1"]), &["mounts[6].options[1]", "own map"]);
    refused(
        |c| {
            c.mount("/v", "bind", "/etc", &["bind", "idmap"]);
            c.set("/mounts/6/uidMappings", maps());
        },
        &["mounts[6].gidMappings", "missing"],
    );
    let mut c = Case::new();
    c.mount("/v", "bind", "/etc", &["bind", "idmap"]);
    c.create().fails_with(&["mounts[6].options[1]", "no user namespace"]);
    c.assert_nothing_left();
}

#[test]
fn features_tell() {
    let out = Command::new(runtime_tests::paths::orlop()).arg("features").output().unwrap();
    let features: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    for option in ["idmap", "ridmap"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)), "{option}");
    }
    assert!(features["linux"]["namespaces"].as_array().unwrap().contains(&json!("user")));
}
