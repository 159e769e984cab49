//! What runs, or can be reached, with more rights than the container has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use runtime_tests::{Case, json};

/// startContainer hooks are programs of the image: what they may do is what
/// the container's program may do. With init's own rights a hostile image
/// could load a kernel module from there.
#[test]
fn start_hook_has_no_more_rights_than_the_program() {
    for uid in [0, 1000] {
        let mut c = Case::new();
        fs::set_permissions(c.rootfs("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let look =
            |name: &str| format!("(grep -E '^(Uid|Gid|Groups|Cap|NoNew)' /proc/self/status; umask) > /tmp/{name}");
        c.set("/process/user", json!({ "uid": uid, "gid": uid, "umask": 0o27, "additionalGids": [7] }));
        c.set("/process/noNewPrivileges", true);
        c.push("/hooks/startContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", look("hook")] }));
        c.sh(&look("program"));
        c.run().ok();
        let read = |name: &str| fs::read_to_string(c.rootfs("tmp").join(name)).unwrap();
        assert_eq!(read("hook"), read("program"));
    }
}

/// A createContainer hook is found in the runtime's mount namespace. Looked up
/// in one that is joined, it is a program of whoever owns that, run as root.
#[test]
fn create_hook_in_a_joined_mount_namespace() {
    let owner = Case::started();
    let mut c = Case::new();
    // The owner has everything at the paths the runtime will look for.
    fs::create_dir_all(owner.rootfs(c.rootfs("dev").to_str().unwrap())).unwrap();
    c.join_namespace("mount", &format!("/proc/{}/ns/mnt", owner.pid()));
    c.set("/mounts", json!([])).unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.push("/hooks/createContainer", json!({ "path": "/bin/touch", "args": ["touch", "/executed"] }));
    c.create().fails_with(&["hooks.createContainer"]);
    assert!(!owner.rootfs("executed").exists(), "a program of the owner's ran with our rights");
    c.assert_nothing_left();
    owner.delete();
}

/// A hook of the host's makes its files as the caller would: not writable by
/// everybody because init cleared its umask for device nodes.
#[test]
fn create_hook_keeps_the_callers_umask() {
    let mut c = Case::new();
    let seen = c.dir.join("umask");
    let script = format!("umask > {}", seen.display());
    c.push("/hooks/createContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })).args(&["/bin/true"]);
    c.write();
    let line = format!("umask 027; exec \"$0\" --root {} run -b {} {}", c.root.display(), c.bundle.display(), c.id);
    c.program("/bin/sh").args(["-c", &line]).arg(runtime_tests::paths::orlop()).go().ok();
    assert_eq!(fs::read_to_string(seen).unwrap().trim(), "0027");
}

/// Who can connect to the start socket can start the container, or keep it
/// from ever being started. A caller's umask must not decide who that is.
#[test]
fn only_the_owner_reaches_the_start_socket() {
    let mut c = Case::new();
    c.args(&["/bin/true"]);
    c.write();
    let line = format!("umask 0; exec \"$0\" --root {} create -b {} {}", c.root.display(), c.bundle.display(), c.id);
    let create = c.program("/bin/sh").args(["-c", &line]).arg(runtime_tests::paths::orlop());
    create.env("NOTIFY_SOCKET", c.dir.join("nobody")).go().ok();
    let dir = c.root.join(&c.id);
    let mode = |name: &str| fs::symlink_metadata(dir.join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("start.sock") & 0o077, 0, "start.sock {:o}", mode("start.sock"));
    assert_eq!(mode("notify") & 0o022, 0, "notify {:o}", mode("notify"));
    c.delete();
}

/// What a container says to the service manager is about itself: not who else
/// may speak, nor what the manager keeps for it.
#[test]
fn notify_passes_on_only_what_is_known() {
    let mut c = Case::new();
    let path = c.dir.join("manager.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let text = "NOTIFYACCESS=all\nMAINPID=1\nMAINPIDFDID=1\nFDSTORE=1\nSTATUS=well\nREADY=1";
    c.args(&["/bin/probe", "notify", text]);
    c.launch("run", &[], &c.id).env("NOTIFY_SOCKET", &path).go().ok();
    let mut buf = [0; 4096];
    let len = manager.recv(&mut buf).unwrap();
    let got = String::from_utf8_lossy(&buf[..len]).into_owned();
    let mut keys: Vec<&str> = got.lines().filter_map(|l| l.split_once('=')).map(|(key, _)| key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["MAINPID", "READY", "STATUS"], "{got}");
    assert!(!got.contains("MAINPID=1\n"), "{got}");
}

/// Keyrings have no namespace: whoever has the same uid in another container
/// may at most search this one, as exec must, not write to it.
#[test]
fn keyring_cannot_be_written_by_others_of_the_same_uid() {
    let mut c = Case::new();
    let r = c.probe(&["report"]);
    let text = r["keyring"].as_str().unwrap();
    let mask = u32::from_str_radix(text.split(';').nth(3).unwrap(), 16).unwrap();
    assert_eq!(mask & 0x0024_ffff, 0, "user may write or change it, or others have rights: {text}");
    assert_eq!(mask & 0x0008_0000, 0x0008_0000, "exec cannot find it: {text}");
}
