//! Against the kernel: throw-away cgroups, as root.

use nix::sys::stat::{Mode, mkdirat};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::spec::plan::{DeviceRule, DeviceType};

/// The place alone: nobody but cgroupfs makes these.
fn target_of(plan: &CgroupPlan) -> Result<Target> {
    super::plan(plan, "id").map(|planned| planned.target)
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup of a test: a name of its own, removed with all in it at the end.
struct Scratch {
    name: String,
    path: PathBuf,
}

impl Scratch {
    /// `None`, with the reason printed, where cgroups cannot be made.
    fn new() -> Option<Self> {
        let Some(mount) = mount_point() else {
            eprintln!("skipped: no cgroup v2 here");
            return None;
        };
        let name = format!("orlop-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = mount.join(&name);
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Self { name, path }),
            Err(e) => {
                eprintln!("skipped: cannot make {}: {e}", path.display());
                None
            }
        }
    }

    fn plan(&self, below: &str) -> CgroupPlan {
        CgroupPlan { path: Some(format!("/{}/{below}", self.name)), ..CgroupPlan::default() }
    }

    fn make(&self, below: &str) -> (Target, Cgroup) {
        let plan = self.plan(below);
        let target = target_of(&plan).unwrap();
        let cgroup = Cgroup::create(&target, &plan).unwrap();
        (target, cgroup)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.path) {
            cgroup.kill().unwrap();
        }
        let target = Target { path: self.path.clone(), made: 1, ..Target::default() };
        Cgroup::remove(&target).unwrap();
    }
}

/// A child that moves into the cgroup and then runs the command there.
fn spawn(cgroup: &Cgroup, command: &[&str]) -> Child {
    let procs = cgroup.path().join("cgroup.procs");
    let mut sh = Command::new("sh");
    sh.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(procs).args(command);
    sh.stderr(Stdio::null()).spawn().unwrap()
}

fn sleeper(cgroup: &Cgroup) -> Child {
    let child = spawn(cgroup, &["sleep", "100"]);
    while !cgroup.processes().unwrap().contains(&(child.id() as i32)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

fn setting(field: &str, controller: &str, file: &str, value: &str) -> CgroupSetting {
    let [field, controller, file, value] = [field, controller, file, value].map(String::from);
    CgroupSetting { field, controller, file, value }
}

#[test]
fn made_nested_and_removed() {
    let Some(scratch) = Scratch::new() else { return };
    let plan = scratch.plan("a/b/c");
    let target = target_of(&plan).unwrap();
    assert_eq!((target.made, &target.path), (3, &scratch.path.join("a/b/c")));
    assert!(!target.path.exists(), "planning touches nothing");
    let cgroup = Cgroup::create(&target, &plan).unwrap();
    assert!(target.path.exists());
    let all = std::fs::read_to_string(target.mount.join("cgroup.controllers")).unwrap();
    let ours = fs::read(cgroup.fd(), "cgroup.controllers").unwrap();
    assert!(make::missing_of(&all, &ours).is_empty(), "{all} enabled down to {ours}");
    let saved = serde_json::to_string(&target).unwrap();
    Cgroup::remove(&serde_json::from_str(&saved).unwrap()).unwrap();
    assert!(!scratch.path.join("a").exists());
    assert!(scratch.path.exists(), "what was there before stays");
    Cgroup::remove(&target).unwrap();
}

#[test]
fn shared_parent_stays() {
    let Some(scratch) = Scratch::new() else { return };
    let (first, _a) = scratch.make("pod/a");
    let (second, _b) = scratch.make("pod/b");
    assert_eq!((first.made, second.made), (2, 1));
    Cgroup::remove(&first).unwrap();
    assert!(scratch.path.join("pod/b").exists());
    Cgroup::remove(&second).unwrap();
}

#[test]
fn parent_vanishing_between_plan_and_create() {
    let Some(scratch) = Scratch::new() else { return };
    let (first, _a) = scratch.make("pod/a");
    let plan = scratch.plan("pod/b");
    let target = target_of(&plan).unwrap();
    assert_eq!(target.made, 1);
    Cgroup::remove(&first).unwrap();
    Cgroup::create(&target, &plan).unwrap();
    assert!(target.path.exists());
}

#[test]
fn creating_races_with_removing() {
    let Some(scratch) = Scratch::new() else { return };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let scratch = &scratch;
            scope.spawn(move || {
                for _ in 0..50 {
                    let (target, _) = scratch.make(&format!("x/y/c{n}"));
                    Cgroup::remove(&target).unwrap();
                }
            });
        }
    });
}

#[test]
fn existing_cgroup_is_used_and_removed_but_not_its_parents() {
    let Some(scratch) = Scratch::new() else { return };
    std::fs::create_dir(scratch.path.join("own")).unwrap();
    let (target, cgroup) = scratch.make("own");
    assert_eq!((target.made, cgroup.path()), (0, &*target.path));
    Cgroup::remove(&target).unwrap();
    assert!(!target.path.exists() && scratch.path.exists());
}

#[test]
fn unfit_cgroups_are_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let (_, cgroup) = scratch.make("used/sub");
    let mut child = sleeper(&cgroup);
    let e = target_of(&scratch.plan("used")).unwrap_err().to_string();
    assert!(e.starts_with("container's cgroup is not empty: 1 process(es) found"), "{e}");
    cgroup.kill().unwrap();
    child.wait().unwrap();

    cgroup.set_frozen(true).unwrap();
    for below in ["used/sub", "used/sub/new"] {
        let e = target_of(&scratch.plan(below)).unwrap_err().to_string();
        assert!(e.starts_with("container's cgroup unexpectedly frozen"), "{e}");
    }
    // Made by hand: beside siblings with controllers nothing can be threaded.
    let Some(scratch) = Scratch::new() else { return };
    std::fs::create_dir(scratch.path.join("threads")).unwrap();
    std::fs::write(scratch.path.join("threads/cgroup.type"), "threaded").unwrap();
    for below in ["threads", "threads/new", "new"] {
        let e = target_of(&scratch.plan(below)).unwrap_err().to_string();
        assert!(e.starts_with("cgroup cannot hold a container: "), "{e}");
    }
}

#[test]
fn absent_controller_is_named() {
    let Some(scratch) = Scratch::new() else { return };
    let mut plan = scratch.plan("a");
    plan.settings = vec![setting("linux.resources.nonesuch.limit", "nonesuch", "nonesuch.max", "1")];
    let e = target_of(&plan).unwrap_err().to_string();
    assert!(e.contains("linux.resources.nonesuch.limit: ") && e.contains("controller nonesuch"), "{e}");
    assert!(e.contains("cgroup.controllers"), "{e}");
    let target = target_of(&scratch.plan("a")).unwrap();
    let e = Cgroup::create(&target, &plan).unwrap_err().to_string();
    assert!(e.contains("cgroup.subtree_control"), "{e}");
    assert!(!target.path.exists(), "a failed create leaves nothing");
}

#[test]
fn settings_are_written() {
    let Some(scratch) = Scratch::new() else { return };
    let (_, cgroup) = scratch.make("a");
    let field = "linux.resources.unified";
    let apply = |settings| cgroup.apply(&CgroupPlan { settings, ..CgroupPlan::default() });
    apply(vec![setting(field, "", "cgroup.max.depth", "7")]).unwrap();
    assert_eq!(fs::read(cgroup.fd(), "cgroup.max.depth").unwrap(), "7");
    // The second way is for when there is no first.
    let first = setting("linux.resources.blockIO.weight", "", "io.bfq.nonesuch", "1");
    let second = setting("linux.resources.blockIO.weight", "", "cgroup.max.depth", "8");
    apply(vec![first, second]).unwrap();
    assert_eq!(fs::read(cgroup.fd(), "cgroup.max.depth").unwrap(), "8");
    if !cgroup.path().join("memory.swap.max").exists() {
        apply(vec![setting("linux.resources.memory.swap", "memory", "memory.swap.max", "max")]).unwrap();
        let e = apply(vec![setting("linux.resources.memory.swap", "memory", "memory.swap.max", "5")]).unwrap_err();
        assert!(e.to_string().contains("linux.resources.memory.swap: "), "{e}");
        assert!(e.to_string().contains("(the memory controller is not enabled here"), "{e}");
    }
    let e = apply(vec![setting(field, "", "cgroup.max.depth", "deep")]).unwrap_err();
    assert_eq!(e.raw_errno(), Some(libc::EINVAL), "{e}");
}

#[test]
fn frozen_listed_killed() {
    let Some(scratch) = Scratch::new() else { return };
    let (target, cgroup) = scratch.make("a");
    std::fs::create_dir_all(target.path.join("deep/er")).unwrap();
    let mut children = [sleeper(&cgroup), sleeper(&Cgroup::open(&target.path.join("deep/er")).unwrap())];
    let mut pids = children.each_ref().map(|c| c.id() as i32).to_vec();
    pids.sort_unstable();
    let mut found = cgroup.processes().unwrap();
    found.sort_unstable();
    assert_eq!(found, pids);

    assert!(!cgroup.is_frozen().unwrap());
    cgroup.set_frozen(true).unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.set_frozen(false).unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.set_frozen(true).unwrap();

    assert!(!cgroup.wait_empty(Duration::from_millis(20)).unwrap());
    cgroup.kill().unwrap();
    // Not reaped yet, on purpose: the dead do not keep a cgroup from being removed.
    assert!(cgroup.wait_empty(Duration::from_secs(5)).unwrap());
    Cgroup::remove(&target).unwrap();
    assert!(!target.path.exists());
    for child in &mut children {
        child.wait().unwrap();
    }
    assert!(cgroup.kill().is_ok() && !cgroup.is_frozen().unwrap(), "a cgroup that has gone is no error");
    assert!(cgroup.wait_empty(Duration::ZERO).unwrap());
    assert_eq!((cgroup.processes().unwrap(), cgroup.oom()), (vec![], None));
}

#[test]
fn removing_waits_for_the_dying() {
    let Some(scratch) = Scratch::new() else { return };
    let (target, cgroup) = scratch.make("a");
    std::fs::create_dir_all(target.path.join("x/y")).unwrap();
    let mut child = sleeper(&cgroup);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        Cgroup::remove(&target).unwrap();
    });
    assert!(!target.path.exists());
    child.wait().unwrap();
}

#[test]
fn very_deep_cgroups_are_removed() {
    let Some(scratch) = Scratch::new() else { return };
    let (target, cgroup) = scratch.make("a");
    // Deeper than the descriptors we may have, and than a path may be long.
    let mut here = fs::open_dir(cgroup.fd(), Path::new(".")).unwrap();
    let name = Path::new("d2345678901234567890");
    for _ in 0..400 {
        mkdirat(&here, name, Mode::S_IRWXU).unwrap();
        here = fs::open_dir(here.as_fd(), name).unwrap();
    }
    assert!(cgroup.processes().unwrap().is_empty());
    Cgroup::remove(&target).unwrap();
    assert!(!target.path.exists());
}

#[test]
fn delegated_to_a_user() {
    use std::os::unix::fs::MetadataExt;
    let Some(scratch) = Scratch::new() else { return };
    let (target, cgroup) = scratch.make("a");
    match cgroup.delegate(12345) {
        Err(e) if e.raw_errno() == Some(libc::EINVAL) => {
            return eprintln!("skipped: our user namespace lacks the user");
        }
        done => done.unwrap(),
    }
    let owner = |name: &str| std::fs::metadata(target.path.join(name)).unwrap().uid();
    assert_eq!((owner("."), owner("cgroup.procs"), owner("cgroup.freeze")), (12345, 12345, 0));
}

/// Can a process in the cgroup open a device for reading?
fn can_open(cgroup: &Cgroup, path: &str) -> bool {
    spawn(cgroup, &["sh", "-c", &format!("exec 3<{path}")]).wait().unwrap().success()
}

#[test]
fn devices_are_denied() {
    let Some(scratch) = Scratch::new() else { return };
    let (_, cgroup) = scratch.make("a");
    let rule = |allow, major, minor, access| DeviceRule { allow, kind: Some(DeviceType::Char), major, minor, access };
    let nothing = DeviceRule { allow: false, kind: None, major: None, minor: None, access: 7 };
    let apply =
        |rules: &[DeviceRule]| cgroup.apply(&CgroupPlan { devices: Some(rules.to_vec()), ..CgroupPlan::default() });
    if let Err(e) = apply(&[nothing]) {
        eprintln!("skipped: {e}");
        return;
    }
    // /dev/kmsg, c 1:11, is a device no built-in rule speaks of.
    let kmsg = "/dev/kmsg";
    if File::open(kmsg).is_err() {
        eprintln!("skipped: no {kmsg} here to be denied");
        return;
    }
    let attached = || crate::sys::bpf::attached_devices(cgroup.fd()).map_or(0, |list| list.len());
    if attached() == 0 {
        eprintln!("skipped: eBPF is not permitted, which is let pass in a user namespace");
        return;
    }
    assert!(can_open(&cgroup, "/dev/zero") && can_open(&cgroup, "/dev/null"));
    assert!(!can_open(&cgroup, kmsg));
    // An update replaces, in both directions, and leaves one program (or none).
    let cgroup = Cgroup::open(cgroup.path()).unwrap();
    let apply =
        |rules: &[DeviceRule]| cgroup.apply(&CgroupPlan { devices: Some(rules.to_vec()), ..CgroupPlan::default() });
    apply(&[nothing, rule(true, Some(1), Some(11), 1)]).unwrap();
    assert_eq!((can_open(&cgroup, kmsg), attached()), (true, 1));
    apply(&[nothing, rule(true, Some(1), Some(11), 2)]).unwrap();
    assert_eq!((can_open(&cgroup, kmsg), attached()), (false, 1));
    apply(&[DeviceRule { allow: true, ..nothing }]).unwrap();
    assert_eq!((can_open(&cgroup, kmsg), attached()), (true, 0));
}

/// The files of a cgroup that belong to somebody else than root, `.` for itself.
fn foreign(cgroup: &Cgroup) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut names = fs::names(cgroup.fd()).unwrap();
    names.retain(|name| name != ".." && std::fs::metadata(cgroup.path().join(name)).unwrap().uid() == 12345);
    names.sort();
    names
}

#[test]
fn handed_over_without_its_limits() {
    let Some(scratch) = Scratch::new() else { return };
    let (_, cgroup) = scratch.make("a");
    cgroup.delegate(0).unwrap();
    assert_eq!(foreign(&cgroup), [""; 0]);
    // A kernel that does not list what may be handed over.
    cgroup.hand_over(Uid::from_raw(12345), DELEGATE).unwrap();
    let least = [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
    assert_eq!(foreign(&cgroup), least);
    let (_, other) = scratch.make("b");
    other.delegate(12345).unwrap();
    let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    for name in foreign(&other) {
        assert!(least.contains(&name.as_str()) || listed.lines().any(|l| l == name), "{name}");
    }
    assert!(least.iter().all(|name| foreign(&other).iter().any(|n| n == name)));
}
