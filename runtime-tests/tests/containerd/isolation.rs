//! What a container may do: profiles, capabilities, users, file systems.

use std::fs;
use std::path::PathBuf;

use runtime_tests::engines::{DOCKERS, Manager, Profile, offered};
use runtime_tests::{Case, Value, host, json, require, sys};

use super::node::{PodConfig, turn};

const PROFILE: Profile = Profile { apparmor: "cri-containerd.apparmor.d", verdicts: DOCKERS };

/// A security profile of these numbers.
const RUNTIME_DEFAULT: u32 = 0;
const UNCONFINED: u32 = 1;
const LOCALHOST: u32 = 2;

fn profile(kind: u32) -> Value {
    json!({ "profile_type": kind })
}

/// What `probe report` has said.
fn report(text: &str) -> Value {
    serde_json::from_str(text.trim()).expect("a report")
}

#[test]
fn default_profiles_hold_in_init_and_exec() {
    require!(offered(Manager::Cgroupfs).and_then(|()| host::apparmor()));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network();
    let pod = pod.set("/linux/security_context/seccomp", profile(RUNTIME_DEFAULT)).run();
    let confined = |name| {
        let config = pod.container(name).security("seccomp", profile(RUNTIME_DEFAULT));
        config.security("apparmor", profile(RUNTIME_DEFAULT))
    };
    let question = PROFILE.question();
    let said = confined("one").command(&question).run();
    PROFILE.assert_said(&said.stdout, &said.stderr);
    let two = confined("two").start();
    let said = two.exec(&question);
    PROFILE.assert_said(&said.stdout, &said.stderr);

    // Without: what root may, and no filter.
    let three =
        pod.container("three").security("seccomp", profile(UNCONFINED)).security("apparmor", profile(UNCONFINED));
    let said = three.sh("grep Seccomp: /proc/self/status; cat /proc/self/attr/current").run().ok();
    assert_eq!(said, "Seccomp:\t0\nunconfined\n");
    pod.end();
}

/// A profile of the node's, as docker and Kubernetes write them.
#[test]
fn a_filter_of_the_nodes() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let rules = json!([{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }]);
    let file = c.dir.join("profile.json");
    let archs = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    let text = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": rules });
    fs::write(&file, text.to_string()).expect("a profile");
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let local = json!({ "profile_type": LOCALHOST, "localhost_ref": file });
    let one = pod.container("one").security("seccomp", local).start();
    let said = one.exec(&["mkdir", "/tmp/x"]);
    assert!(said.code == 1 && said.stderr.contains("Operation not supported"), "{said:?}");
    one.end();
    pod.end();
}

#[test]
fn rights_are_those_asked_for() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let trimmed = |name| {
        let caps = json!({ "add_capabilities": ["SYS_TIME"], "drop_capabilities": ["CHOWN", "NET_RAW"] });
        pod.container(name).security("capabilities", caps).security("no_new_privs", true)
    };
    let one = trimmed("one").start();
    for said in [one.sh("probe report"), trimmed("init").command(&["probe", "report"]).run().ok()] {
        let said = report(&said);
        for set in ["effective", "permitted", "bounding"] {
            let has = |n: u32| said["caps"][set].as_array().expect("a set").contains(&json!(n));
            // Those of CHOWN, NET_RAW and SYS_ADMIN it has not, those of DAC_OVERRIDE and SYS_TIME it has.
            assert_eq!([0, 13, 21, 1, 25].map(has), [false, false, false, true, true], "{set}: {}", said["caps"]);
        }
        assert_eq!(said["no_new_privs"], true);
    }
    one.end();
    pod.end();
}

#[test]
fn users_are_those_asked_for() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let user = pod.container("user").security("run_as_user", json!({ "value": 1000 }));
    let user =
        user.security("run_as_group", json!({ "value": 1001 })).security("supplemental_groups", json!([7, 8])).start();
    assert_eq!(user.sh("id -u; id -g; id -G"), "1000\n1001\n1001 7 8");
    let said = report(&user.sh("probe report"));
    assert_eq!((&said["caps"]["effective"], &said["caps"]["permitted"]), (&json!([]), &json!([])), "{}", said["caps"]);
    let mut said = user.status()["user"]["linux"].clone();
    // In whatever order.
    said["supplemental_groups"].as_array_mut().expect("a list").sort_by_key(Value::as_i64);
    assert_eq!(said, json!({ "uid": 1000, "gid": 1001, "supplemental_groups": [7, 8, 1001] }));
    user.end();
    let named = pod.container("named").security("run_as_username", "user").sh("id -u; id -g").run().ok();
    assert_eq!(named, "1000\n1000\n");
    pod.end();
}

#[test]
fn what_is_read_only_or_masked() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let fixed =
        pod.container("fixed").security("readonly_rootfs", true).sh("touch /file 2>&1; touch /dev/shm/x && echo shm");
    assert_eq!(fixed.run().ok(), "touch: /file: Read-only file system\nshm\n");
    let masks = json!(["/proc/kcore", "/etc/group"]);
    let masked =
        pod.container("masked").security("masked_paths", masks).security("readonly_paths", json!(["/proc/sys"]));
    let script = "wc -c </etc/group; head -c 1 /proc/kcore | wc -c; echo 1 2>&1 >/proc/sys/kernel/shm_rmid_forced";
    let said = masked.sh(script).run();
    assert!(said.stdout.starts_with("0\n0\n") && said.stdout.contains("Read-only file system"), "{said:?}");
    pod.end();
}

#[test]
fn a_privileged_container_has_everything() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network();
    let pod = pod.set("/linux/security_context/privileged", true).run();
    let one = pod.container("one").security("privileged", true).start();
    let own = fs::read_to_string("/proc/self/status").expect("status");
    let own = |name: &str| own.lines().find(|l| l.starts_with(name)).expect("a line").to_owned();
    for name in ["CapEff:", "CapBnd:"] {
        assert_eq!(one.sh(&format!("grep {name} /proc/self/status")), own(name));
    }
    assert_eq!(one.sh("grep Seccomp: /proc/self/status"), "Seccomp:\t0");
    assert_eq!(one.sh("test -b /dev/vda && dd if=/dev/vda bs=512 count=1 2>/dev/null | wc -c"), "512");
    assert_eq!(one.sh("mount -t tmpfs none /tmp && grep -c ' /tmp ' /proc/mounts"), "1");
    one.sh("mkdir /sys/fs/cgroup/inner && rmdir /sys/fs/cgroup/inner");
    assert_eq!(one.sh("cat /proc/sys/kernel/shm_rmid_forced >/proc/sys/kernel/shm_rmid_forced && wc -c </proc/keys >/dev/null && echo yes"), "yes");
    // And one beside it that has not.
    let two = pod.container("two").start();
    assert_eq!(two.sh("test -e /dev/vda || echo none; mount -t tmpfs none /tmp 2>&1 | grep -c denied"), "none\n1");
    let said = two.exec(&["mkdir", "/sys/fs/cgroup/inner"]);
    assert!(said.stderr.contains("Read-only file system"), "{said:?}");
    pod.end();
}

#[test]
fn a_device_of_the_nodes_is_made() {
    require!(offered(Manager::Cgroupfs).and_then(|()| host::spare_disk().map(|_| ())));
    let _turn = turn();
    let c = Case::new();
    let disk = fs::canonicalize(host::spare_disk().expect("a disk")).expect("a device");
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let device = json!([{ "container_path": "/dev/disk", "host_path": disk, "permissions": "r" }]);
    let one = pod.container("one").set("/devices", device).start();
    assert_eq!(one.sh("dd if=/dev/disk bs=512 count=1 2>/dev/null | wc -c"), "512");
    let said = one.exec(&["dd", "if=/dev/zero", "of=/dev/disk", "bs=512", "count=1", "conv=notrunc"]);
    assert!(said.code == 1 && said.stderr.contains("Operation not permitted"), "{said:?}");
    one.end();
    pod.end();
}

/// A volume in which something else is mounted; both are shared.
struct Volume(PathBuf);

impl Volume {
    fn new(c: &Case) -> Self {
        let (outer, inner) = (c.dir.join("volume"), c.dir.join("volume/inner"));
        fs::create_dir_all(&inner).expect("a volume");
        fs::write(outer.join("file"), "text\n").expect("a file");
        sys::mount(outer.to_str().expect("a path"), &outer, "none", libc::MS_BIND, "").expect("a mount");
        sys::mount("none", &outer, "", libc::MS_SHARED, "").expect("shared");
        sys::mount("tmpfs", &inner, "tmpfs", 0, "size=1m").expect("a tmpfs");
        Self(outer)
    }

    /// In a container, as `more` says.
    fn at(&self, path: &str, more: &[(&str, Value)]) -> Value {
        let mut mount = json!({ "container_path": path, "host_path": self.0 });
        more.iter().for_each(|(name, value)| mount[*name] = value.clone());
        mount
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = sys::umount(self.0.join("inner")).and_then(|()| sys::umount(&self.0));
    }
}

#[test]
fn volumes_are_as_writable_as_they_are_asked_for() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let volume = Volume::new(&c);
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let fixed = ("readonly", json!(true));
    let one =
        pod.container("one").mount(volume.at("/plain", &[])).mount(volume.at("/fixed", std::slice::from_ref(&fixed)));
    let one = one.mount(volume.at("/recursive", &[fixed, ("recursive_read_only", json!(true))]));
    let file = json!({ "container_path": "/etc/one", "host_path": volume.0.join("file"), "readonly": true });
    let one = one.mount(file).start();
    let can = |path: &str| one.exec(&["touch", path]).code == 0;
    assert_eq!([can("/plain/a"), can("/plain/inner/a")], [true, true]);
    assert_eq!([can("/fixed/a"), can("/fixed/inner/a")], [false, true]);
    assert_eq!([can("/recursive/a"), can("/recursive/inner/a")], [false, false]);
    assert_eq!((one.sh("cat /etc/one").as_str(), can("/etc/one")), ("text", false));
    one.end();
    pod.end();
}

/// Mounts that are made later come in, go out, or do neither.
#[test]
fn volumes_propagate_as_they_are_asked_to() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let volume = Volume::new(&c);
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network();
    let pod = pod.set("/linux/security_context/privileged", true).run();
    let propagation = |n: u32| [("propagation", json!(n))];
    let one = pod.container("one").mount(volume.at("/plain", &[])).mount(volume.at("/slave", &propagation(1)));
    let one = one.mount(volume.at("/shared", &propagation(2))).security("privileged", true).start();
    let later = volume.0.join("inner/later");
    fs::create_dir(&later).expect("a directory");
    sys::mount("tmpfs", &later, "tmpfs", 0, "size=1m").expect("a tmpfs");
    fs::write(later.join("seen"), "").expect("a file");
    assert_eq!(one.sh("ls /slave/inner/later /shared/inner/later").matches("seen").count(), 2);
    assert_eq!(one.sh("ls /plain/inner/later"), "");
    sys::umount(&later).expect("umount");
    one.sh(
        "mount -t tmpfs none /slave && mkdir /shared/out && mount -t tmpfs none /shared/out && touch /shared/out/seen",
    );
    let (out, file) = (volume.0.join("out/seen"), volume.0.join("file"));
    assert_eq!((out.exists(), file.exists()), (true, true));
    one.sh("umount /shared/out");
    assert!(!out.exists());
    one.end();
    pod.end();
}
