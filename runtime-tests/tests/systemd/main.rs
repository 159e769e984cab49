//! The systemd cgroup manager: units, their properties, both sides of limits.
//! What needs a systemd is skipped where there is none; that there is none, or
//! something else in its place, is tested everywhere.

mod away;
mod user;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use runtime_tests::command::wait_for;
use runtime_tests::sys::trace::{End, Harm, Who, harm_at};
use runtime_tests::{Case, Cmd, host, json, leaks, require, sys};

/// Is systemd the manager of this machine?
fn systemd() -> Result<(), String> {
    host::file("/run/systemd/system")?;
    host::program("systemctl")
}

fn systemctl(c: &Case, args: &[&str]) -> String {
    c.program("systemctl").args(args).go().ok().text().to_owned()
}

/// One property of a unit.
fn show(c: &Case, unit: &str, property: &str) -> String {
    systemctl(c, &["show", "--property", property, "--value", unit])
}

/// A case whose container is the unit `ot-ID.scope` in system.slice.
fn case() -> (Case, String) {
    let mut c = Case::new();
    let unit = format!("ot-{}.scope", c.id);
    c.set("/linux/cgroupsPath", format!("system.slice:ot:{}", c.id)).args(&["/bin/sleep", "1000"]);
    (c, unit)
}

fn create(c: &Case) -> Cmd {
    c.write();
    c.orlop(&["--systemd-cgroup", "create", "--bundle"]).arg(&c.bundle).arg(&c.id)
}

fn start(c: &Case) {
    create(c).go().ok();
    c.verb("start").ok();
}

fn cgroup(unit: &str) -> PathBuf {
    host::cgroup2().unwrap().join("system.slice").join(unit)
}

fn value(unit: &str, file: &str) -> String {
    let path = cgroup(unit).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// Neither systemd nor the kernel knows of it any more.
#[track_caller]
fn assert_no_unit(c: &Case, unit: &str) {
    assert_eq!(show(c, unit, "LoadState"), "not-found", "{unit}");
    assert!(!cgroup(unit).exists(), "{unit}");
}

fn delete(c: &Case, unit: &str) {
    c.delete();
    assert_no_unit(c, unit);
}

// ---- what the unit is

#[test]
fn the_container_is_a_scope() {
    require!(systemd());
    let (c, unit) = case();
    start(&c);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap().trim(),
        format!("0::/system.slice/{unit}")
    );
    assert_eq!(value(&unit, "cgroup.procs"), c.pid().to_string(), "only init, and directly in it");
    for (property, wanted) in [
        ("ActiveState", "active"),
        ("Transient", "yes"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("DevicePolicy", "strict"),
        ("MemoryMax", "infinity"),
    ] {
        assert_eq!(show(&c, &unit, property), wanted, "{property}");
    }
    assert_eq!(show(&c, &unit, "Description"), format!("orlop container {}", c.id));
    // The other verbs need no flag.
    assert_eq!(c.orlop(&["ps", "--format", "json", &c.id]).go().ok().json(), json!([c.pid()]));
    assert!(c.orlop(&["events", "--stats", &c.id]).go().ok().json()["data"]["pids"]["current"].is_number());
    c.exec(&[], &["/bin/true"]).go().ok();
    let inside = c.exec(&[], &["/bin/cat", "/proc/self/cgroup"]).go().ok();
    assert_eq!(inside.text(), "0::/", "exec is in the scope, which is the root of the cgroup namespace");
    c.verb("pause").ok();
    assert_eq!((c.status().as_str(), value(&unit, "cgroup.freeze").as_str()), ("paused", "1"));
    c.verb("resume").ok();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
    assert_no_unit(&c, &unit);
}

#[test]
fn without_a_path_and_without_a_bus_daemon() {
    require!(systemd());
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    let unit = format!("orlop-{}.scope", c.id);
    create(&c).go().ok();
    assert_eq!(show(&c, &unit, "Slice"), "system.slice");
    delete(&c, &unit);
    require!(host::program("unshare"));
    c.set("/linux/resources", json!({ "pids": { "limit": 50 } })).write();
    // The manager's own socket speaks the same language, without a bus between.
    let hidden = "mount -t tmpfs none /run/dbus && exec \"$@\"";
    let without = |verb: &[&str]| {
        let unshare = c.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", hidden, "sh"]);
        unshare.arg(runtime_tests::paths::orlop()).arg("--root").arg(&c.root).args(verb).go().ok()
    };
    without(&["--systemd-cgroup", "create", "--bundle", c.bundle.to_str().unwrap(), &c.id]);
    assert_eq!(show(&c, &unit, "TasksMax"), "50");
    without(&["delete", "--force", &c.id]);
    assert_no_unit(&c, &unit);
}

#[test]
fn later_verbs_need_no_environment() {
    require!(systemd());
    let (mut c, unit) = case();
    c.set("/linux/resources", json!({ "pids": { "limit": 50 } }));
    start(&c);
    let bare = |args: &[&str]| {
        c.orlop(args).with(|command| {
            command.env_clear().env("XDG_RUNTIME_DIR", "");
        })
    };
    bare(&["update", "--pids-limit", "60", &c.id]).go().ok();
    assert_eq!(show(&c, &unit, "TasksMax"), "60");
    bare(&["kill", &c.id, "KILL"]).go().ok();
    c.wait_status("stopped");
    bare(&["delete", &c.id]).go().ok();
    assert_no_unit(&c, &unit);
}

#[test]
fn born_in_its_cgroup() {
    require!(systemd());
    require!(host::program("strace"));
    let (mut c, unit) = case();
    let seen = c.dir.join("seen");
    let script = format!("pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); cat /proc/$pid/cgroup > {}", seen.display());
    c.set("/hooks/createRuntime", json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
    c.write();
    let log = c.dir.join("strace");
    let orlop = runtime_tests::paths::orlop();
    let traced = c.program("strace").args(["-f", "-e", "trace=openat,openat2,clone3", "-o"]).arg(&log).arg(orlop);
    let root = c.root.to_str().unwrap();
    let traced =
        traced.args(["--root", root, "--systemd-cgroup", "create", "--bundle", c.bundle.to_str().unwrap(), &c.id]);
    // strace stays with init: it must not be waited for.
    let traced = traced.limit(Duration::from_secs(60)).spawn();
    let is_created = || {
        let state = c.orlop(&["state", &c.id]).go();
        (state.status.success() && state.json()["status"] == "created").then_some(())
    };
    wait_for("created", is_created);
    c.verb("start").ok();
    assert_eq!(fs::read_to_string(&seen).unwrap().trim(), format!("0::/system.slice/{unit}"));
    delete(&c, &unit);
    traced.wait();
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("CLONE_INTO_CGROUP"), "{log}");
    let moved: Vec<_> = log.lines().filter(|l| l.contains("cgroup.procs") && !l.contains("O_RDONLY")).collect();
    assert!(moved.is_empty(), "{moved:?}");
}

#[test]
fn slices_are_made() {
    require!(systemd());
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    // Below a slice of its own, whose name says where it is.
    let slice = format!("ot-{}.slice", c.id);
    c.set("/linux/cgroupsPath", format!("{slice}:pre:{}", c.id));
    start(&c);
    let line = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert_eq!(line.trim(), format!("0::/ot.slice/{slice}/pre-{}.scope", c.id));
    c.delete();
    systemctl(&c, &["stop", &slice]);
    // And as a slice itself.
    c.set("/linux/cgroupsPath", format!("ot.slice:ignored:{slice}"));
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 } }));
    start(&c);
    let line = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert_eq!(line.trim(), format!("0::/ot.slice/{slice}"));
    assert_eq!(show(&c, &slice, "MemoryMax"), (64 << 20).to_string());
    c.delete();
    assert_eq!(show(&c, &slice, "ActiveState"), "inactive");
    systemctl(&c, &["stop", "ot.slice"]);
}

#[test]
fn annotations_are_properties() {
    require!(systemd());
    let (mut c, unit) = case();
    c.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "7",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.After": "['basic.target']",
            "org.systemd.property.DefaultDependencies": "true",
            "org.systemd.property.KillSignal": "9",
        }),
    );
    start(&c);
    assert_eq!(show(&c, &unit, "TimeoutStopUSec"), "7s");
    assert_eq!(show(&c, &unit, "CollectMode"), "inactive-or-failed");
    assert!(show(&c, &unit, "After").contains("basic.target"));
    assert_eq!(show(&c, &unit, "DefaultDependencies"), "yes");
    assert_eq!(show(&c, &unit, "KillSignal"), "9");
    delete(&c, &unit);
}

// ---- limits

/// Everything that systemd has a property for, and what the kernel and systemd then show.
#[test]
fn limits_are_the_same_on_both_sides() {
    require!(systemd());
    let (mut c, unit) = case();
    c.set(
        "/linux/resources",
        json!({
            "memory": { "limit": 64 << 20, "reservation": 32 << 20, "swap": 80 << 20 },
            "cpu": { "shares": 512, "quota": 12345, "period": 50000, "cpus": "0-1", "mems": "0" },
            "pids": { "limit": 77 },
            "blockIO": { "weight": 500 },
            "unified": { "memory.high": "60000000", "memory.oom.group": "1", "hugetlb.2MB.max": "4194304" },
        }),
    );
    start(&c);
    check_limits(&c, &unit, "after create");
    // systemd writes its own again when it is told to look at everything anew.
    systemctl(&c, &["daemon-reload"]);
    check_limits(&c, &unit, "after daemon-reload");
    systemctl(&c, &["set-property", "--runtime", &unit, "CPUWeight=59"]);
    check_limits(&c, &unit, "after it wrote the cpu files");
    delete(&c, &unit);
}

fn check_limits(c: &Case, unit: &str, when: &str) {
    // 12345 µs in 50 ms are 246900 in a second, which is rounded up to 250000: 12500 in 50 ms.
    for (property, shown, file, text) in [
        ("MemoryMax", "67108864", "memory.max", "67108864"),
        ("MemoryLow", "33554432", "memory.low", "33554432"),
        ("MemoryHigh", "60000000", "memory.high", "59998208"),
        ("MemorySwapMax", "16777216", "memory.swap.max", "16777216"),
        ("CPUWeight", "59", "cpu.weight", "59"),
        ("CPUQuotaPerSecUSec", "250ms", "cpu.max", "12500 50000"),
        ("CPUQuotaPeriodUSec", "50ms", "cpu.max", "12500 50000"),
        ("AllowedCPUs", "0-1", "cpuset.cpus", "0-1"),
        ("AllowedMemoryNodes", "0", "cpuset.mems", "0"),
        ("TasksMax", "77", "pids.max", "77"),
        ("OOMPolicy", "kill", "memory.oom.group", "1"),
    ] {
        assert_eq!(show(c, unit, property), shown, "{property} {when}");
        assert_eq!(value(unit, file), text, "{file} {when}");
    }
    assert_eq!(show(c, unit, "IOWeight"), "4950", "{when}");
    assert_eq!(value(unit, "hugetlb.2MB.max"), "4194304", "{when}");
}

#[test]
fn limits_of_disks_are_the_same_on_both_sides() {
    require!(systemd());
    let (mut c, unit) = case();
    let disks = fs::read_dir("/sys/block").unwrap().flatten().map(|e| e.path().join("dev"));
    let mut disks = disks.filter(|p| p.to_string_lossy().contains("/vd")).filter_map(|p| fs::read_to_string(p).ok());
    let Some(device) = disks.next() else { runtime_tests::skip!("no virtio disk") };
    let (major, minor) = device.trim().split_once(':').unwrap();
    let (major, minor): (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
    let rate = |rate: u32| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let resources = json!({ "throttleReadBpsDevice": rate(1 << 20), "throttleWriteIOPSDevice": rate(50) });
    c.set("/linux/resources/blockIO", resources);
    start(&c);
    let device = format!("{major}:{minor}");
    for when in ["at first", "after daemon-reload"] {
        assert_eq!(show(&c, &unit, "IOReadBandwidthMax"), format!("/dev/block/{device} 1048576"), "{when}");
        assert_eq!(show(&c, &unit, "IOWriteIOPSMax"), format!("/dev/block/{device} 50"), "{when}");
        assert_eq!(value(&unit, "io.max"), format!("{device} rbps=1048576 wbps=max riops=max wiops=50"), "{when}");
        systemctl(&c, &["daemon-reload"]);
    }
    delete(&c, &unit);
}

#[test]
fn smallest_limit_of_processes() {
    // The placeholder is gone before the limit comes.
    require!(systemd());
    for limit in [0, 1] {
        let (mut c, unit) = case();
        c.set("/linux/resources", json!({ "pids": { "limit": limit } }));
        start(&c);
        assert_eq!((value(&unit, "pids.max").as_str(), show(&c, &unit, "TasksMax").as_str()), ("1", "1"));
        delete(&c, &unit);
    }
}

#[test]
fn update_changes_both_sides_or_none() {
    require!(systemd());
    let (mut c, unit) = case();
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 77 } }));
    start(&c);
    let update = |flags: &[&str]| c.orlop(&["update"]).args(flags).arg(&c.id).go();
    update(&["--memory", "96m", "--pids-limit", "88", "--cpu-quota", "12345", "--cpuset-cpus", "1"]).ok();
    let both = |property: &str, file: &str| (show(&c, &unit, property), value(&unit, file));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let check = || {
        assert_eq!(both("MemoryMax", "memory.max"), pair("100663296", "100663296"));
        assert_eq!(both("TasksMax", "pids.max"), pair("88", "88"));
        assert_eq!(both("CPUQuotaPerSecUSec", "cpu.max"), pair("130ms", "13000 100000"));
        assert_eq!(both("AllowedCPUs", "cpuset.cpus"), pair("1", "1"));
    };
    check();
    // The kernel has no such CPU.
    update(&["--memory", "128m", "--cpuset-cpus", "5000"]).fails_with(&["--cpuset-cpus"]);
    check();
    // There is nobody to tell: nor is the kernel told.
    let state = c.root.join(&c.id).join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("/run/dbus/system_bus_socket", "/run/nobody/here")).unwrap();
    update(&["--memory", "128m"]).fails_with(&["cannot talk to systemd: /run/nobody/here: no such file or directory"]);
    fs::write(&state, text).unwrap();
    check();
    systemctl(&c, &["daemon-reload"]);
    check();
    // In and out of idle, which is a weight to systemd.
    update(&["--cpu-idle", "1"]).ok();
    wait_for("idle", || (both("CPUWeight", "cpu.idle") == pair("idle", "1")).then_some(()));
    update(&["--cpu-idle", "0"]).ok();
    wait_for("no longer idle", || (value(&unit, "cpu.idle") == "0").then_some(()));
    delete(&c, &unit);
}

#[test]
fn devices_are_denied_for_as_long_as_the_unit_lives() {
    require!(systemd());
    let (mut c, unit) = case();
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
    ]);
    c.set("/linux/resources/devices", rules);
    start(&c);
    assert_eq!(show(&c, &unit, "DevicePolicy"), "strict");
    let allowed = show(&c, &unit, "DeviceAllow");
    assert!(allowed.contains("/dev/char/10:229 rw") && allowed.contains("/dev/char/1:3 rw"), "{allowed}");
    // Making a node is always allowed; opening it is what the rules are about.
    let kmsg = "mknod /tmp/kmsg c 1 11 2>/dev/null; head -c1 </tmp/kmsg >/dev/null 2>&1 && echo open || echo denied";
    let null = "head -c1 </dev/null >/dev/null && echo open || echo denied";
    let attempt = |script: &str| c.exec(&[], &["/bin/sh", "-c", script]).go().text().to_owned();
    // (Not daemon-reexec: systemctl finds nobody meanwhile, and other tests need it.)
    for when in ["at first", "after daemon-reload"] {
        if when != "at first" {
            systemctl(&c, &["daemon-reload"]);
        }
        assert_eq!((attempt(kmsg).as_str(), attempt(null).as_str()), ("denied", "open"), "{when}");
    }
    delete(&c, &unit);
}

#[test]
fn a_denial_systemd_cannot_say_is_in_force_all_the_same() {
    require!(systemd());
    let (mut c, unit) = case();
    let rules = json!([
        { "allow": true, "access": "rwm" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw" },
    ]);
    c.set("/linux/resources/devices", rules);
    start(&c);
    assert_eq!(show(&c, &unit, "DevicePolicy"), "auto");
    systemctl(&c, &["daemon-reload"]);
    let script = |minor: u32| {
        let script = format!(
            "mknod /tmp/n{minor} c 1 {minor}; head -c1 </tmp/n{minor} >/dev/null 2>&1 && echo open || echo denied"
        );
        c.exec(&[], &["/bin/sh", "-c", &script]).go().text().to_owned()
    };
    assert_eq!((script(11), script(5)), ("denied".to_owned(), "open".to_owned()));
    delete(&c, &unit);
}

// ---- the end, and what is in the way

#[test]
fn systemctl_stop_ends_the_container() {
    require!(systemd());
    let (mut c, unit) = case();
    c.set("/annotations", json!({ "org.systemd.property.TimeoutStopSec": "1" }));
    start(&c);
    systemctl(&c, &["stop", &unit]);
    c.wait_status("stopped");
    c.verb("delete").ok();
    assert_no_unit(&c, &unit);
}

#[test]
fn delete_takes_a_frozen_one_and_one_with_orphans() {
    require!(systemd());
    let (mut c, unit) = case();
    c.no_namespace("pid").sh("sleep 1000 & sleep 1000 & exec sleep 1000");
    start(&c);
    c.kill("9").ok();
    c.wait_status("stopped");
    delete(&c, &unit);
    start(&c);
    c.verb("pause").ok();
    delete(&c, &unit);
}

#[test]
fn the_name_of_a_failed_unit_is_free() {
    require!(systemd());
    let (c, unit) = case();
    // A service's name would be another one; a scope fails by running out of time.
    let fail = ["--scope", "--quiet", "--unit", &unit, "--property", "RuntimeMaxSec=1", "sleep", "1000"];
    c.program("systemd-run").args(fail).go();
    wait_for("a failed unit", || (show(&c, &unit, "ActiveState") == "failed").then_some(()));
    start(&c);
    assert_eq!(show(&c, &unit, "Description"), format!("orlop container {}", c.id));
    delete(&c, &unit);
}

#[test]
fn the_name_of_a_unit_in_use_is_refused() {
    require!(systemd());
    let (c, unit) = case();
    let mut stranger = c.program("systemd-run").args(["--scope", "--quiet", "--unit", &unit, "sleep", "1000"]).spawn();
    wait_for("a unit", || (show(&c, &unit, "ActiveState") == "active").then_some(()));
    create(&c).go().fails_with(&["container's cgroup is not empty", &unit]);
    assert_eq!(show(&c, &unit, "ActiveState"), "active", "the other one is not touched");
    stranger.child.kill().unwrap();
    stranger.wait();
    // One without processes: a slice.
    let (mut c, _) = case();
    let slice = format!("ot{}.slice", c.id);
    c.set("/linux/cgroupsPath", format!(":x:{slice}"));
    systemctl(&c, &["start", &slice]);
    create(&c).go().fails_with(&["systemd has a unit of this name already", "linux.cgroupsPath", &slice]);
    assert_eq!(show(&c, &slice, "ActiveState"), "active");
    systemctl(&c, &["stop", &slice]);
}

#[test]
fn a_refused_property_leaves_nothing() {
    require!(systemd());
    let (mut c, unit) = case();
    for (name, value) in [("NoSuchThing", "true"), ("KillSignal", "'text'"), ("MemoryMax", "uint64 0")] {
        let key = format!("org.systemd.property.{name}");
        c.set("/annotations", json!({ &key: value }));
        create(&c).go().fails_with(&["systemd refuses the unit", &unit]).says(&[&key]);
        assert_no_unit(&c, &unit);
        c.assert_nothing_left();
    }
}

#[test]
fn a_refused_limit_leaves_nothing() {
    require!(systemd());
    let (mut c, unit) = case();
    for (resources, field) in [
        (json!({ "cpu": { "cpus": "5000" } }), "linux.resources.cpu.cpus"),
        (json!({ "unified": { "memory.nothing": "1" } }), "linux.resources.unified[\"memory.nothing\"]"),
    ] {
        c.set("/linux/resources", resources);
        create(&c).go().fails_with(&[field]);
        assert_no_unit(&c, &unit);
        c.assert_nothing_left();
    }
}

#[test]
fn a_killed_create_leaves_what_delete_finds() {
    require!(systemd());
    let (mut c, unit) = case();
    let begun = c.dir.join("begun");
    let script = format!("touch {}; exec sleep 1000", begun.display());
    c.set("/hooks/createRuntime", json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]));
    let mut creating = create(&c).spawn();
    wait_for("the hook", || begun.exists().then_some(()));
    creating.child.kill().unwrap();
    creating.wait();
    delete(&c, &unit);
    leaks::sweep_away(&c.id, &c.dir);
    // Told to stop in good time it takes everything back itself.
    fs::remove_file(&begun).unwrap();
    let creating = create(&c).spawn();
    wait_for("the hook", || begun.exists().then_some(()));
    sys::kill(creating.pid(), libc::SIGTERM).unwrap();
    creating.wait().exits(143);
    assert_no_unit(&c, &unit);
    c.assert_nothing_left();
}

/// Killed at any of its system calls: `delete --force` finds everything, and
/// neither a unit nor a placeholder stays. (Every fifth call.)
#[test]
fn create_killed_at_any_call() {
    require!(systemd());
    runtime_tests::reaper::start();
    let (c, unit) = case();
    c.write();
    let (mut n, mut began) = (1, 0);
    loop {
        let mut command = std::process::Command::new(runtime_tests::paths::orlop());
        command.arg("--root").arg(&c.root).args(["--systemd-cgroup", "create", &c.id]);
        command.current_dir(&c.bundle).env(leaks::MARK, &c.id).stdin(std::process::Stdio::null());
        let out = fs::File::create(c.dir.join("killed")).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let end = harm_at(&mut command, Who::Parent, n, Harm::Kill).expect("ptrace");
        began += usize::from(show(&c, &unit, "LoadState") == "loaded");
        c.delete();
        // One that nobody was told about ends by itself, once its placeholder has.
        wait_for("the unit's end", || (show(&c, &unit, "LoadState") == "not-found").then_some(()));
        if let Err(left) = c.nothing_left() {
            panic!("killed at call {n}: {left}");
        }
        match end {
            End::Harmed { .. } => n += 5,
            End::Completed { .. } => break,
        }
    }
    // The scope of a create that was killed is mostly gone before one can look.
    assert!(n > 100 && began >= 1, "{n} calls, {began} units seen");
}

/// A scope ends with its last process: an init that fails while systemd is still
/// being told of the limits is heard all the same, not that the unit is missing.
#[test]
fn an_init_that_fails_early_says_why() {
    require!(systemd());
    let (mut c, unit) = case();
    // Little for init to do before it fails, and much to tell systemd.
    c.set("/mounts", json!([])).unset("/linux/maskedPaths").unset("/linux/readonlyPaths").args(&["/nosuch"]);
    let devices: Vec<_> = (1..200).map(|n| json!({ "allow": true, "type": "c", "major": 10, "minor": n })).collect();
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 }, "devices": devices }));
    for _ in 0..12 {
        create(&c).go().fails_with(&["exec: \"/nosuch\": stat /nosuch: no such file or directory"]);
    }
    assert_no_unit(&c, &unit);
}
