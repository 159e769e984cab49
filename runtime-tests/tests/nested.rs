//! A container that manages cgroups of its own: what it is given for that, and
//! what becomes of the sub-cgroups it makes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime_tests::command::{Cmd, wait_for};
use runtime_tests::{Case, bundle, host, json, leaks, paths, require};

/// The container's cgroup, on the host.
fn cgroup(c: &Case) -> PathBuf {
    leaks::cgroups(&c.id).pop().expect("a cgroup")
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned()
}

// ---- ownership

/// The names in the container's cgroup, itself as `.`, that belong to user 1000.
fn handed_over(c: &Case) -> Vec<String> {
    let dir = cgroup(c);
    let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.chain([".".to_owned()]).collect();
    names.retain(|name| fs::metadata(dir.join(name)).unwrap().uid() == 1000);
    names.sort();
    names
}

/// A container of user 1000 with the cgroup hierarchy mounted.
fn users_container(source: &str, options: &[&str]) -> Case {
    let mut c = Case::new();
    c.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).mount("/sys/fs/cgroup", "cgroup", source, options);
    c
}

const SUB: [&str; 3] =
    ["mkdir:/sys/fs/cgroup/sub", "write:/sys/fs/cgroup/sub/cgroup.procs:0", "read:/proc/self/cgroup"];

#[test]
fn the_users_cgroup_is_the_users() {
    require!(host::has_cgroup2());
    let mut c = users_container("cgroup", &["nosuid", "noexec", "nodev"]);
    let depth = "write:/sys/fs/cgroup/cgroup.max.depth:1";
    let freeze = "write:/sys/fs/cgroup/cgroup.freeze:1";
    let r = c.attempts(&[SUB[0], SUB[1], SUB[2], depth, freeze]);
    assert_eq!((&r[SUB[0]], &r[SUB[1]]), (&json!(0), &json!(0)), "{r}");
    assert!(r[SUB[2]].as_str().unwrap().lines().any(|line| line == "0::/sub"), "{r}");
    assert_eq!((&r[depth], &r[freeze]), (&json!("EACCES"), &json!("EACCES")), "limits are not the user's");

    // What exactly is handed over, and that it is before the program starts.
    c.args(&["/bin/sleep", "1000"]).create().ok();
    let listed = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let mut wanted: Vec<_> = listed.lines().filter(|name| cgroup(&c).join(name).exists()).collect();
    wanted.push(".");
    wanted.sort_unstable();
    assert_eq!(handed_over(&c), wanted);
    let parent = fs::metadata(cgroup(&c).parent().unwrap()).unwrap();
    assert_eq!(parent.uid(), 0);
    c.delete();
}

/// Kernels before 4.15 do not say what to hand over; the specification does.
#[test]
fn without_the_kernels_list_it_is_the_specifications() {
    require!(host::has_cgroup2());
    let mut c = users_container("cgroup", &[]);
    c.args(&["/bin/sleep", "1000"]).write();
    let script = "mount -t tmpfs t /sys/kernel/cgroup && exec \"$@\"";
    let create = c.program("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(paths::orlop());
    create.arg("--root").arg(&c.root).args(["create", "-b"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert_eq!(handed_over(&c), [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
    c.delete();
}

#[test]
fn the_cgroup_is_not_the_users_otherwise() {
    require!(host::has_cgroup2());
    let (own, joined) = (json!({ "type": "cgroup" }), json!({ "type": "cgroup", "path": "/proc/self/ns/cgroup" }));
    for (source, options, namespace, errno) in [
        ("cgroup", &["ro"] as &[&str], Some(&own), "EROFS"),
        ("elsewhere", &[], Some(&own), "EACCES"),
        ("cgroup", &[], Some(&joined), "EACCES"),
        ("cgroup", &[], None, "EACCES"),
    ] {
        let mut c = users_container(source, options);
        c.no_namespace("cgroup");
        namespace.into_iter().for_each(|n| _ = c.push("/linux/namespaces", n.clone()));
        c.args(&["/bin/sleep", "1000"]).start();
        assert_eq!(handed_over(&c), [""; 0], "{source} {options:?}");
        // Without a namespace of its own it sees the host's whole hierarchy.
        let shown = c.exec(&[], &["/bin/cat", "/proc/self/cgroup"]).go().ok().stdout;
        let own = shown.lines().find_map(|line| line.strip_prefix("0::")).unwrap().trim_end_matches('/');
        let op = format!("mkdir:/sys/fs/cgroup{own}/sub");
        assert_eq!(c.exec_probe(&[], &["try", &op])[&op], errno, "{source} {options:?} {op}");
        c.delete();
    }
}

// ---- a program that spreads its processes over sub-cgroups

/// Leaves the topmost cgroup for `init`, and has controllers handed on, as
/// systemd and nested runtimes do.
const SPREAD: &str = "
    cd /sys/fs/cgroup && mkdir init work && echo 0 >init/cgroup.procs || exit 1
    for each in $(cat cgroup.controllers); do echo +$each >cgroup.subtree_control; done
    (echo 0 >work/cgroup.procs; exec sleep 1001) &
    while ! grep -q . work/cgroup.procs; do sleep 0.01; done
    cd /; echo ready; exec sleep 1000";

/// A container that has done so; its program is `init`'s, another in `work`.
fn spread(change: impl FnOnce(&mut Case)) -> Case {
    let mut c = Case::new();
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]).sh(SPREAD);
    change(&mut c);
    let out = c.start_with_output();
    wait_for("the sub-cgroups", || fs::read_to_string(&out).unwrap().contains("ready").then_some(()));
    c
}

/// Something must be handed on, else the topmost cgroup may hold processes.
fn some_controller() -> Result<(), String> {
    host::controller("hugetlb").or_else(|_| host::controller("memory"))
}

fn cgroup_in(output: &str) -> &str {
    output.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup")
}

#[test]
fn exec_follows_init() {
    require!(some_controller());
    let c = spread(|_| ());
    let show = ["/bin/cat", "/proc/self/cgroup"];
    assert_eq!(cgroup_in(&c.exec(&[], &show).go().ok().stdout), "/init");
    for below in ["work", "/work"] {
        assert_eq!(cgroup_in(&c.exec(&["--cgroup", below], &show).go().ok().stdout), "/work");
    }
    // Who names a cgroup gets that one or none.
    let out = c.exec(&["--cgroup", "/"], &show).go().exits(255);
    out.says(&["cannot create the process", &c.id, "hands on controllers"]);
    c.delete();
}

#[test]
fn sub_cgroups_are_the_containers() {
    require!(some_controller());
    let c = spread(|_| ());
    let pids = || c.orlop(&["ps", "--format", "json", &c.id]).go().ok().json();
    let listed = pids();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(listed.as_array().unwrap().contains(&json!(c.pid())));
    let table = c.orlop(&["ps", &c.id, "-o", "pid,args"]).go().ok().stdout;
    assert!(table.contains("sleep 1000") && table.contains("sleep 1001"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");

    c.verb("pause").ok();
    for sub in ["init", "work"] {
        assert!(read(&cgroup(&c), &format!("{sub}/cgroup.events")).contains("frozen 1"), "{sub}");
    }
    c.verb("resume").ok();
    for sub in ["init", "work"] {
        assert!(read(&cgroup(&c), &format!("{sub}/cgroup.events")).contains("frozen 0"), "{sub}");
    }
    // The init of a pid namespace takes no signal it has no handler for.
    c.orlop(&["kill", "--all", &c.id, "TERM"]).go().ok();
    wait_for("one process", || (pids() == json!([c.pid()])).then_some(()));
    c.orlop(&["kill", "--all", &c.id, "KILL"]).go().ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
}

fn without_pid_namespace(c: &mut Case) {
    c.no_namespace("pid");
}

#[test]
fn sub_cgroups_without_a_pid_namespace() {
    // Nobody is killed with init then: kill and delete have to find them all.
    require!(some_controller());
    let c = spread(without_pid_namespace);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
    let c = spread(without_pid_namespace);
    c.orlop(&["kill", "--all", &c.id, "TERM"]).go().ok();
    wait_for("the end", || read(&cgroup(&c), "cgroup.events").contains("populated 0").then_some(()));
    c.delete();
}

// ---- orlop in a container of orlop's

/// What mounts, device programs and namespaces take.
const MORE_CAPS: [&str; 4] = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_BPF", "CAP_SYS_PTRACE"];

/// Makes a case's container one that can run others: orlop in it, and a bundle.
fn with_orlop(c: &mut Case) {
    let orlop = paths::orlop().to_string_lossy().into_owned();
    c.mount("/bin/orlop", "bind", &orlop, &["bind", "ro"]).mount("/tmp", "tmpfs", "tmpfs", &[]).add_caps(&MORE_CAPS);
    c.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    fs::write(c.rootfs("bin/orlop"), "").unwrap();
    bundle::make_rootfs(&c.rootfs("inner/rootfs"));
    let mut config = bundle::base_config(&c.id);
    config["process"]["args"] = json!(["/bin/sleep", "1002"]);
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if host::controller("pids").is_ok() {
        resources["pids"] = json!({ "limit": 7 });
        resources["memory"] = json!({ "limit": 64 << 20 });
    }
    if host::controller("hugetlb").is_ok() {
        resources["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
    }
    config["linux"]["resources"] = resources;
    fs::write(c.rootfs("inner/config.json"), config.to_string()).unwrap();
}

/// orlop, run in the container.
fn inner(c: &Case, args: &[&str]) -> Cmd {
    c.exec(&[], &["/bin/orlop", "--root", "/tmp/state"]).args(args)
}

#[test]
fn containers_in_a_container() {
    require!(some_controller());
    let c = spread(with_orlop);
    inner(&c, &["run", "--detach", "--bundle", "/inner", "one"]).go().ok();
    let state = inner(&c, &["state", "one"]).go().ok().json();
    assert_eq!(state["status"], "running");
    // Its cgroup is below the container's, with its limits.
    let dir = cgroup(&c).join("one");
    assert_ne!(read(&dir, "cgroup.procs"), "");
    for (controller, file, limit) in
        [("hugetlb", "hugetlb.2MB.max", 4 << 20), ("pids", "pids.max", 7), ("memory", "memory.max", 64 << 20)]
    {
        if host::controller(controller).is_ok() {
            assert_eq!(read(&dir, file), limit.to_string());
        }
    }
    let shown = inner(&c, &["exec", "one", "/bin/cat", "/proc/self/cgroup"]).go().ok().stdout;
    assert_eq!(cgroup_in(&shown), "/");
    // Two of the container's own, one of the one inside.
    let pids = c.orlop(&["ps", "--format", "json", &c.id]).go().ok().json();
    assert_eq!(pids.as_array().unwrap().len(), 3, "{pids}");
    assert!(c.verb("ps").ok().stdout.contains("sleep 1002"));

    inner(&c, &["pause", "one"]).go().ok();
    assert_eq!(c.status(), "running", "only the one inside stands still");
    c.verb("pause").ok();
    c.verb("resume").ok();
    assert_eq!(inner(&c, &["state", "one"]).go().ok().json()["status"], "paused");
    inner(&c, &["delete", "--force", "one"]).go().ok();
    assert!(!dir.exists());

    // What is in there goes with the container.
    inner(&c, &["run", "--detach", "--bundle", "/inner", "two"]).go().ok();
    assert!(cgroup(&c).join("two").exists());
    c.orlop(&["kill", "--all", &c.id, "KILL"]).go().ok();
    c.wait_status("stopped");
    c.verb("delete").ok();
}

#[test]
fn a_busy_cgroup_hands_on_nothing() {
    // The container's program has stayed where it is.
    require!(some_controller());
    let mut c = Case::new();
    with_orlop(&mut c);
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]).args(&["/bin/sleep", "1000"]);
    c.start();
    let out = inner(&c, &["run", "--detach", "--bundle", "/inner", "one"]).go();
    out.fails_with(&["linux.resources.", "cgroup.subtree_control", "has processes of its own"]);
    assert_eq!(leaks::cgroups(&c.id).len(), 1, "nothing is left");
    c.delete();
}
