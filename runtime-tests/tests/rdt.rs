//! `linux.intelRdt`. Few machines have the hardware, so most of this is against
//! a directory that looks like resctrl, shown to orlop by a mountinfo file of
//! our own. What it cannot show is a group the kernel fills with files when it
//! is made: that is in the unit tests.

use std::fs;
use std::path::PathBuf;

use runtime_tests::{Case, Output, Value, host, json};

const SCHEMATA: &str = "    MB:0= 100;1= 100\n    L3:0=fffff;1=fffff\n";

/// Makes a resctrl with one group, `gold`, and in it a monitoring group for the case.
fn fake(c: &Case) -> PathBuf {
    let top = c.dir.join("resctrl");
    let monitor = top.join("gold/mon_groups").join(&c.id);
    fs::create_dir_all(&monitor).unwrap();
    for group in [top.join("gold"), monitor] {
        fs::write(group.join("tasks"), "").unwrap();
    }
    fs::write(top.join("gold/schemata"), SCHEMATA).unwrap();
    fs::write(c.dir.join("mountinfo"), format!("1 2 0:3 / {} rw - resctrl none rw\n", top.display())).unwrap();
    top
}

/// `create` by an orlop that sees the mountinfo of [`fake`].
#[track_caller]
fn create(c: &Case) -> Output {
    c.write();
    // The shell becomes orlop, so this is the file orlop finds as its own.
    let script = "mount --bind mountinfo /proc/$$/mountinfo && exec \"$@\"";
    let orlop = runtime_tests::paths::orlop();
    let command = c.program("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(orlop);
    command.arg("--root").arg(&c.root).args(["create", "-b"]).arg(&c.bundle).arg(&c.id).go()
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn case(rdt: Value) -> Case {
    let mut c = Case::new();
    c.set("/linux/intelRdt", rdt).args(&["/bin/sleep", "1000"]);
    c
}

/// In a fake, rmdir(2) needs an empty directory.
fn empty_monitor(c: &Case) {
    fs::remove_file(c.dir.join("resctrl/gold/mon_groups").join(&c.id).join("tasks")).unwrap();
}

#[test]
fn refused_without_resctrl() {
    if host::file("/sys/fs/resctrl/schemata").is_ok() {
        runtime_tests::skip!("resctrl is mounted");
    }
    for rdt in [json!({}), json!({ "closID": "x" }), json!({ "enableMonitoring": true, "schemata": ["L3:0=f"] })] {
        let c = case(rdt);
        c.create().fails_with(&["linux.intelRdt", "no resctrl filesystem is mounted"]);
        c.assert_nothing_left();
    }
}

#[test]
fn bad_values() {
    for (rdt, texts) in [
        (json!({ "closID": "../x" }), ["linux.intelRdt.closID", "../x"]),
        (json!({ "closID": "info" }), ["linux.intelRdt.closID", "info"]),
        (json!({ "l3CacheSchema": "L3:zero" }), ["linux.intelRdt.l3CacheSchema", "L3:zero"]),
        (json!({ "memBwSchema": "L3:0=f" }), ["linux.intelRdt.memBwSchema", "MB:"]),
        (json!({ "schemata": ["L3:0=f\nL2:0=f"] }), ["linux.intelRdt.schemata[0]", "not a schema"]),
        (json!({ "schemata": "L3:0=f" }), ["linux.intelRdt.schemata", "invalid type"]),
    ] {
        let c = case(rdt);
        c.create().fails_with(&texts);
        c.assert_nothing_left();
    }
}

#[test]
fn a_group_is_joined_updated_and_left() {
    let c = case(json!({ "closID": "gold", "l3CacheSchema": "L3:1=0FFFFF", "enableMonitoring": true }));
    let top = fake(&c);
    let gold = top.join("gold");
    let monitor = gold.join("mon_groups").join(&c.id);
    create(&c).ok();
    let pid = c.pid().to_string();
    assert_eq!([read(gold.join("tasks")), read(monitor.join("tasks"))], [pid.clone(), pid.clone()]);
    c.verb("start").ok();

    // An exec'ed process is orlop's child, not init's.
    for group in [&gold, &monitor] {
        fs::write(group.join("tasks"), "").unwrap();
    }
    c.exec(&[], &["/bin/true"]).go().ok();
    let other = read(gold.join("tasks"));
    assert!(other.parse::<i32>().is_ok() && other != pid, "{other}");
    assert_eq!(read(monitor.join("tasks")), other);

    fs::write(gold.join("schemata"), SCHEMATA).unwrap();
    let stats = c.orlop(&["events", "--stats", &c.id]).go().ok().json();
    assert_eq!(stats["data"]["intel_rdt"]["schemata"], json!(["MB:0= 100;1= 100", "L3:0=fffff;1=fffff"]));

    let update = |flags: &[&str]| c.orlop(&["update"]).args(flags).arg(&c.id).go();
    update(&["--l3-cache-schema", "L3:0=f0", "--mem-bw-schema=MB:0=30"]).ok();
    assert!(read(gold.join("schemata")).starts_with("L3:0=f0\nMB:0=30\n"), "{}", read(gold.join("schemata")));
    // All or nothing: what the cgroup refuses takes the schemata back.
    fs::write(gold.join("schemata"), SCHEMATA).unwrap();
    fs::write(c.dir.join("r.json"), json!({ "unified": { "cgroup.max.depth": "deep" } }).to_string()).unwrap();
    update(&["--mem-bw-schema", "MB:0=10", "-r", "r.json"]).fails_with(&["cgroup.max.depth", "deep"]);
    assert!(read(gold.join("schemata")).starts_with("MB:0= 100;1= 100\n"), "{}", read(gold.join("schemata")));

    empty_monitor(&c);
    c.delete();
    assert!(gold.join("tasks").exists() && !monitor.exists());
}

#[test]
fn a_group_that_differs_is_refused() {
    for (field, text) in [("l3CacheSchema", "L3:0=1"), ("memBwSchema", "MB:1=10"), ("l3CacheSchema", "L3:7=fffff")] {
        let c = case(json!({ "closID": "gold", field: text }));
        let top = fake(&c);
        create(&c).fails_with(&[&format!("linux.intelRdt.{field}"), text, "not what this group has"]);
        c.assert_nothing_left();
        assert_eq!((read(top.join("gold/tasks")), read(top.join("gold/schemata"))), (String::new(), SCHEMATA.into()));
    }
    let c = case(json!({ "closID": "silver", "enableMonitoring": true }));
    let top = fake(&c);
    create(&c).fails_with(&["linux.intelRdt.closID", "no such group", "silver"]);
    assert!(!top.join("silver").exists());
}

#[test]
fn a_group_made_for_nothing_is_removed() {
    // A directory alone has no file for the schemata or the tasks.
    for (rdt, texts) in [
        (json!({}), ["cannot put the process into the resctrl group", "tasks"]),
        (json!({ "schemata": ["L3:0=f"] }), ["linux.intelRdt.schemata[0]", "cannot set the schemata"]),
    ] {
        let c = case(rdt);
        let top = fake(&c);
        create(&c).fails_with(&texts);
        c.assert_nothing_left();
        assert!(!top.join(&c.id).exists());
    }
}

#[test]
fn no_group_no_update() {
    let c = Case::started();
    for (flag, text) in [("--l3-cache-schema", "L3:0=f"), ("--mem-bw-schema", "MB:0=50")] {
        c.orlop(&["update", flag, text, &c.id]).go().fails_with(&[flag, "no resctrl group"]);
    }
    c.delete();
}

#[test]
fn nothing_is_touched_without_the_field() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    let top = fake(&c);
    create(&c).ok();
    assert_eq!(read(top.join("gold/tasks")), "");
    assert_eq!(read(top.join("gold/schemata")), SCHEMATA);
    assert!(!top.join(&c.id).exists());
    c.delete();
}
