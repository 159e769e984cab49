//! SELinux: what is refused without it, and what it sees with the policy in
//! `vm/selinux.conf`, which `.ci/suites.sh` loads.

use std::fs;

use runtime_tests::{Case, Value, host, json, require};

const BOX: &str = "u:r:box_t:s0:c0,c1";
const OTHER: &str = "u:r:other_t:s0";
const FILES: &str = "u:r:boxfile_t:s0:c0,c1";
const CURRENT: &str = "read:/proc/self/attr/current";

/// Is the policy of these tests loaded?
fn policy() -> Result<(), String> {
    host::selinux()?;
    let known = fs::write("/sys/fs/selinux/context", BOX);
    known.map_err(|_| "another SELinux policy than that of runtime-tests/vm/selinux.conf".to_owned())
}

fn label(report: &Value) -> &str {
    report[CURRENT].as_str().expect("a label").trim_end_matches('\0')
}

#[track_caller]
fn enforce(on: bool) {
    fs::write("/sys/fs/selinux/enforce", if on { "1" } else { "0" }).unwrap();
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
        c.args(&["/bin/sleep", "1000"]);
        c.start();
        let exec = |flags: &[&str]| c.exec_probe(flags, &["try", CURRENT]);
        assert_eq!(label(&exec(&[])), BOX, "the container's");
        assert_eq!(label(&exec(&["--process-label", OTHER])), OTHER);
        let process = json!({ "args": ["/bin/probe", "try", CURRENT], "cwd": "/" });
        let file = c.dir.join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let r = c.orlop(&["exec", "-p"]).arg(&file).arg(&c.id).go().ok().last_json();
        assert_eq!(label(&r), BOX, "a document without a label");
        c.delete();
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
    let c = Case::started();
    c.exec(&["--process-label", "nonsense"], &["/bin/true"]).go().exits(255).says(&["process.selinuxLabel"]);
    c.delete();
}

/// What the config mounts new, and the covers of masked directories, are the
/// container's; the kernel's own filesystems keep their labels.
#[test]
fn mounts_have_the_label() {
    require!(policy());
    let mut c = Case::new();
    c.set("/linux/mountLabel", FILES).set("/process/selinuxLabel", BOX);
    c.push("/linux/maskedPaths", json!("/root"));
    c.mount("/own", "tmpfs", "tmpfs", &["context=\"u:r:locked_t:s0:c0,c1\"", "mode=755"]);
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    let root = format!("/proc/{}/root", c.pid());
    let of = |path: &str| runtime_tests::sys::label(format!("{root}{path}")).expect(path);
    for path in ["/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue", "/root"] {
        assert_eq!(of(path), FILES, "{path}");
    }
    assert_eq!(of("/own"), "u:r:locked_t:s0:c0,c1", "an option of its own wins");
    assert_ne!(of("/proc"), FILES);
    c.delete();
    for kind in ["context", "fscontext", "rootcontext", "defcontext"] {
        c.set("/annotations/run.oci.mount_context_type", kind);
        c.args(&["/bin/true"]);
        let fits = kind == "context" || kind == "rootcontext";
        let out = c.run();
        assert!(!fits || out.code() == 0, "{kind}: {}", out.stderr);
    }
}

/// The keyring is made with the program's label, and keys made later are not.
#[test]
fn keyring_has_the_label() {
    require!(policy());
    let mut c = Case::new();
    c.set("/process/selinuxLabel", BOX);
    assert_eq!(c.probe(&["report"])["keyring_label"], BOX);
    assert_eq!(c.attempts(&["read:/proc/self/attr/keycreate"])["read:/proc/self/attr/keycreate"], json!(""));
}

/// In force: a directory that the label may not write to is not written to.
#[test]
fn policy_denies_a_write() {
    require!(policy());
    let mut c = Case::new();
    c.set("/process/selinuxLabel", BOX).set("/linux/mountLabel", FILES);
    c.mount("/locked", "tmpfs", "tmpfs", &["context=\"u:r:locked_t:s0:c0,c1\"", "mode=777"]);
    c.mount("/open", "tmpfs", "tmpfs", &["mode=777"]);
    let attempts = ["create:/locked/x", "create:/open/x"];
    enforce(true);
    let args: Vec<&str> = ["/bin/probe", "try"].into_iter().chain(attempts).collect();
    c.args(&args);
    let out = c.run();
    c.args(&["/bin/sleep", "1000"]);
    let created = c.create();
    let started = c.verb("start");
    let args: Vec<&str> = ["try"].into_iter().chain(attempts).collect();
    let exec = c.exec(&[], &[&["/bin/probe"], &args[..]].concat()).go();
    enforce(false);
    created.ok();
    started.ok();
    for r in [out.ok().last_json(), exec.ok().last_json()] {
        assert_eq!(r, json!({ "create:/locked/x": "EACCES", "create:/open/x": 0 }));
    }
    c.delete();
}

#[test]
fn labels_without_selinux() {
    if host::selinux().is_ok() {
        runtime_tests::skip!("SELinux is there");
    }
    let mut c = Case::new();
    c.set("/process/selinuxLabel", "system_u:system_r:container_t:s0");
    c.create().fails_with(&["process.selinuxLabel", "selinux is not enabled"]);
    c.assert_nothing_left();
    // Engines send the label of the mounts everywhere; an option of one mount is a request.
    c.unset("/process/selinuxLabel").set("/linux/mountLabel", "system_u:object_r:container_file_t:s0:c1,c2");
    c.run().ok();
    for option in ["context", "fscontext", "rootcontext", "defcontext"] {
        let mut c = Case::new();
        c.mount("/m", "tmpfs", "tmpfs", &["mode=755", &format!("{option}=\"u:object_r:t:s0\"")]);
        c.create().fails_with(&["mounts[6].options", &format!("{option}="), "selinux is not enabled"]);
        c.assert_nothing_left();
    }
    let c = Case::started();
    c.exec(&["--process-label", "u:r:t:s0"], &["/bin/true"]).go().exits(255).says(&["process.selinuxLabel"]);
    c.delete();
}
