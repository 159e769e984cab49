//! SELinux, in force, with the policy in `vm/selinux.conf`: labels of the
//! program, of `exec`, of mounts and keyrings.
//!
//! `make test-vm` boots the VM once more for these, with SELinux in AppArmor's
//! place; `.ci/suites.sh` loads the policy there.

use std::fs;

use runtime_tests::{Case, Output, Value, host, json, require, sys};

const BOX: &str = "u:r:box_t:s0:c0,c1";
const OTHER: &str = "u:r:other_t:s0";
const FILES: &str = "u:r:boxfile_t:s0:c0,c1";
const LOCKED: &str = "u:r:locked_t:s0:c0,c1";
/// What a rootfs has that nobody labelled.
const HOST: &str = "u:r:host_t:s0";
const CURRENT: &str = "read:/proc/self/attr/current";
/// Where the policy lets the label [`BOX`] add a file, and where not.
const OPEN: &str = "create:/open/x";
const DENIED: &str = "create:/locked/x";

/// Is the policy of these tests loaded and in force?
fn policy() -> Result<(), String> {
    host::selinux()?;
    let known = fs::write("/sys/fs/selinux/context", BOX);
    known.map_err(|_| "another SELinux policy than that of runtime-tests/vm/selinux.conf".to_owned())?;
    let enforced = fs::read_to_string("/sys/fs/selinux/enforce").unwrap();
    if enforced == "1" { Ok(()) } else { Err("SELinux is permissive".to_owned()) }
}

fn label(report: &Value) -> &str {
    report[CURRENT].as_str().expect("a label").trim_end_matches('\0')
}

/// A case with the label [`BOX`], and a directory to which that may add and one to which not.
fn boxed() -> Case {
    let mut c = Case::new();
    c.set("/process/selinuxLabel", BOX).set("/linux/mountLabel", FILES);
    c.mount("/locked", "tmpfs", "tmpfs", &["context=\"u:r:locked_t:s0:c0,c1\"", "mode=777"]);
    c.mount("/open", "tmpfs", "tmpfs", &["mode=777"]);
    c
}

/// A container in which commands can be run, from a case.
fn started(c: &mut Case) -> &Case {
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    c
}

/// `exec --process` with a document that has `more`.
fn exec_document(c: &Case, more: Value) -> Value {
    let mut process = json!({ "args": ["/bin/probe", "try", CURRENT], "cwd": "/" });
    process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let file = c.dir.join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    c.orlop(&["exec", "-p"]).arg(&file).arg(&c.id).go().ok().last_json()
}

/// `run` of a case, by a runtime that has a label itself.
fn run_under(label: &str, c: &Case) -> Output {
    c.write();
    // One write, and no newline: that would take the label back.
    let script = "printf %s \"$0\" >/proc/self/attr/exec && exec \"$@\"";
    let run = c.program("sh").args(["-c", script, label]).arg(runtime_tests::paths::orlop());
    run.arg("--root").arg(&c.root).args(["run", "-b"]).arg(&c.bundle).arg(&c.id).go()
}

#[test]
fn label_of_the_program_and_of_exec() {
    require!(policy());
    for nnp in [true, false] {
        let mut c = Case::new();
        c.set("/process/noNewPrivileges", nnp);
        // The kernel's own form of a label may be another than the one asked for.
        for asked in [BOX, "u:r:box_t:s0:c1,c0", "u:r:box_t:s0:c0.c1"] {
            c.set("/process/selinuxLabel", asked);
            assert_eq!(label(&c.attempts(&[CURRENT])), BOX);
        }
        let c = started(&mut c);
        let exec = |flags: &[&str]| c.exec_probe(flags, &["try", CURRENT]);
        assert_eq!(label(&exec(&[])), BOX, "the container's");
        assert_eq!(label(&exec(&["--no-new-privs"])), BOX, "the container's, --no-new-privs");
        assert_eq!(label(&exec(&["--process-label", OTHER])), OTHER);
        let set = |more: Value| {
            let mut set = json!({ "noNewPrivileges": nnp });
            set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            set
        };
        assert_eq!(label(&exec_document(c, set(json!({})))), BOX, "a document without a label");
        let own = set(json!({ "selinuxLabel": OTHER }));
        assert_eq!(label(&exec_document(c, own)), OTHER, "a document's own label");
        c.delete();
        // Nothing asked for: the runtime's own, and no label that another process has.
        let mut c = Case::new();
        assert_eq!(label(&c.attempts(&[CURRENT])), HOST, "nothing was asked for");
    }
}

#[test]
fn label_that_the_policy_does_not_have() {
    require!(policy());
    let mut c = Case::new();
    let seen = c.dir.join("hook");
    c.push("/hooks/createRuntime", json!({ "path": "/bin/touch", "args": ["touch", seen] }));
    for wrong in ["u:r:no_t:s0", "nonsense", "u:r:box_t:s0:c9"] {
        c.set("/process/selinuxLabel", wrong);
        c.create().fails_with(&["process.selinuxLabel", wrong]);
        assert!(!seen.exists(), "a hook ran");
        c.assert_nothing_left();
    }
    c.unset("/process/selinuxLabel").set("/linux/mountLabel", "u:r:no_t:s0");
    c.create().fails_with(&["linux.mountLabel", "u:r:no_t:s0"]);
    c.assert_nothing_left();
    c.unset("/linux/mountLabel").mount("/own", "tmpfs", "tmpfs", &["context=\"u:r:no_t:s0\""]);
    c.create().fails_with(&["mounts[6].options", "context=", "u:r:no_t:s0"]);
    c.assert_nothing_left();
    let c = Case::started();
    c.exec(&["--process-label", "nonsense"], &["/bin/true"]).go().exits(255).says(&["process.selinuxLabel"]);
    c.delete();
}

/// The policy has the label, and lets nobody become that: the execve fails.
#[test]
fn label_that_may_not_be_entered() {
    require!(policy());
    const CLOSED: &str = "u:r:closed_t:s0";
    for (nnp, why) in [(true, "operation not permitted"), (false, "permission denied")] {
        let mut c = Case::new();
        c.set("/process/noNewPrivileges", nnp).args(&["/bin/touch", "/ran"]);
        c.set("/process/selinuxLabel", CLOSED);
        c.run().fails_with(&["/bin/touch", why, "process.selinuxLabel", CLOSED]);
        c.assert_nothing_left();
        c.unset("/process/selinuxLabel");
        let c = started(&mut c);
        let exec = c.exec(&["--process-label", CLOSED], &["/bin/touch", "/ran"]).go();
        exec.exits(255).says(&["/bin/touch", why, "process.selinuxLabel", CLOSED]);
        assert!(!c.rootfs("ran").exists(), "it ran");
        c.delete();
    }
}

/// What the config mounts new, and the covers of masked directories, are the
/// container's; the kernel's own filesystems and what is bound keep their labels.
#[test]
fn mounts_have_the_label() {
    require!(policy());
    for userns in [false, true] {
        let mut c = boxed();
        if userns {
            c.push("/linux/namespaces", json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            c.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        }
        c.push("/linux/maskedPaths", json!("/root"));
        let bound = c.dir.join("bound");
        fs::create_dir(&bound).unwrap();
        c.mount("/bound", "bind", bound.to_str().unwrap(), &["bind"]);
        let c = started(&mut c);
        let root = format!("/proc/{}/root", c.pid());
        let of = |path: &str| sys::label(format!("{root}{path}")).expect(path);
        for path in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/root", "/open"] {
            assert_eq!(of(path), FILES, "{path}, user namespace: {userns}");
        }
        assert_eq!(of("/locked"), LOCKED, "an option of its own wins");
        // In a user namespace the devices are the host's, bound.
        assert_eq!(of("/dev/null") == FILES, !userns, "{}", of("/dev/null"));
        for path in ["/proc", "/sys", "/bound", "/etc"] {
            // What was made on the host has the role of objects.
            assert_eq!(of(path).replace(":object_r:", ":r:"), HOST, "{path}, user namespace: {userns}");
        }
        assert_eq!(label(&c.exec_probe(&[], &["try", CURRENT])), BOX, "exec, user namespace: {userns}");
        c.delete();
    }
}

/// `run.oci.mount_context_type`: all files, the root directory alone, or the
/// filesystem itself, whose type is that of the files made in it.
#[test]
fn kinds_of_mount_labels() {
    require!(policy());
    const MADE: &str = "u:object_r:boxfile_t:s0";
    for (kind, directory, file) in [("context", FILES, FILES), ("rootcontext", FILES, MADE), ("fscontext", MADE, MADE)]
    {
        let mut c = Case::new();
        c.set("/linux/mountLabel", FILES).set("/annotations/run.oci.mount_context_type", kind);
        let c = started(&mut c);
        let of = |path: &str| sys::label(format!("/proc/{}/root{path}", c.pid())).expect(path);
        assert_eq!([of("/dev").as_str(), &of("/dev/null"), &of("/proc")], [directory, file, HOST], "{kind}");
        c.delete();
    }
    let mut c = Case::new();
    c.set("/linux/mountLabel", FILES).set("/annotations/run.oci.mount_context_type", "defcontext");
    // Only for filesystems that keep labels on a disk.
    c.create().fails_with(&["mounts[1]", "/dev"]);
    c.assert_nothing_left();
}

/// An overlay is a filesystem of the container's own, whatever its layers are;
/// a copy into a labelled tmpfs is the container's as well, and into another
/// one its files keep their labels.
#[test]
fn overlays_and_copies() {
    require!(policy().and_then(|()| host::filesystem("overlay")));
    for labelled in [true, false] {
        let mut c = Case::new();
        for dir in ["lower", "upper", "work"] {
            fs::create_dir(c.dir.join(dir)).unwrap();
        }
        fs::write(c.dir.join("lower/file"), "").unwrap();
        fs::create_dir(c.rootfs("data")).unwrap();
        fs::write(c.rootfs("data/file"), "inside").unwrap();
        sys::set_label(c.rootfs("data/file"), LOCKED).unwrap();
        let dir = c.dir.display();
        let options = [format!("lowerdir={dir}/lower"), format!("upperdir={dir}/upper"), format!("workdir={dir}/work")];
        c.mount("/o", "overlay", "overlay", &options.each_ref().map(String::as_str));
        c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
        if labelled {
            c.set("/linux/mountLabel", FILES);
        }
        let c = started(&mut c);
        let of = |path: &str| sys::label(format!("/proc/{}/root{path}", c.pid())).expect(path);
        let [overlay, copy] = if labelled { [FILES; 2] } else { [HOST, LOCKED] };
        assert_eq!([of("/o"), of("/o/file"), of("/data/file")], [overlay, overlay, copy]);
        c.delete();
    }
}

/// The keyring is made with the program's label, which may look at no other,
/// and keys made later are not.
#[test]
fn keyring_has_the_label() {
    require!(policy());
    for nnp in [true, false] {
        let mut c = Case::new();
        c.set("/process/selinuxLabel", BOX).set("/process/noNewPrivileges", nnp);
        assert_eq!(c.probe(&["report"])["keyring_label"], BOX);
        let keycreate = "read:/proc/self/attr/keycreate";
        assert_eq!(c.attempts(&[keycreate])[keycreate], json!(""));
        let c = started(&mut c);
        assert_eq!(c.exec_probe(&[], &["report"])["keyring_label"], BOX, "exec");
        assert_eq!(c.exec_probe(&[], &["try", keycreate])[keycreate], json!(""), "exec");
        // With another label exec has the keyring, and the policy keeps it from it.
        let other = c.exec_probe(&["--process-label", OTHER], &["report"]);
        assert_eq!(other["keyring_label"], "EACCES");
        c.delete();
    }
}

/// In force: a directory that the label may not add to is not added to.
#[test]
fn policy_denies_a_write() {
    require!(policy());
    let free = json!({ DENIED: 0, OPEN: 0 });
    let mut c = boxed();
    let denied = json!({ DENIED: "EACCES", OPEN: 0 });
    assert_eq!(c.attempts(&[DENIED, OPEN]), denied, "init");
    let c2 = started(&mut c);
    let exec = |flags: &[&str], to: [&str; 2]| c2.exec_probe(flags, &["try", to[0], to[1]]);
    assert_eq!(exec(&[], [DENIED, OPEN]), denied, "exec");
    let shm = ["create:/dev/shm/x", "create:/tmp/x"];
    let r = exec(&["--process-label", OTHER], shm);
    assert_eq!(r, json!({ shm[0]: "EACCES", shm[1]: 0 }), "exec --process-label");
    // The same kind of container, other categories.
    let r = exec(&["--process-label", "u:r:box_t:s0:c2,c3"], shm);
    assert_eq!(r[shm[0]], "EACCES", "exec of another container's label");
    assert_eq!(exec(&[], shm)[shm[0]], 0, "and the container's own may");
    c2.delete();
    let mut c = boxed();
    c.unset("/process/selinuxLabel");
    assert_eq!(c.attempts(&[DENIED, OPEN]), free, "without a label");
}

/// Programs of the image that run as hooks have the label of its own.
#[test]
fn start_hook_has_the_label() {
    require!(policy());
    let mut c = boxed();
    let script = "cat /proc/self/attr/current >/tmp/hook; touch /open/x && ! touch /locked/x 2>/dev/null";
    c.push("/hooks/startContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    c.run().ok();
    assert_eq!(fs::read_to_string(c.rootfs("tmp/hook")).unwrap().trim_end_matches(['\0', '\n']), BOX);
}

/// A runtime that is labelled itself: a nested one, or that of a confined engine.
#[test]
fn runtime_that_has_a_label_itself() {
    require!(policy());
    const MUTE: &str = "u:r:mute_t:s0";
    let mut c = boxed();
    c.args(&["/bin/probe", "try", CURRENT, DENIED, OPEN]);
    // It may not ask whether the policy has the label; that it is in force is looked at all the same.
    let r = run_under(MUTE, &c).ok().last_json();
    assert_eq!(r, json!({ CURRENT: format!("{BOX}\0"), DENIED: "EACCES", OPEN: 0 }));
    c.set("/process/selinuxLabel", "u:r:no_t:s0");
    run_under(MUTE, &c).fails_with(&["process.selinuxLabel", "`/proc/self/attr/", "invalid argument"]);
    c.assert_nothing_left();
    c.unset("/process/selinuxLabel");
    assert_eq!(label(&run_under(MUTE, &c).ok().last_json()), MUTE, "nothing was asked for");
}
