//! AppArmor: in the VM, where it is on, with profiles of the tests' own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use runtime_tests::apparmor::{self, Profile};
use runtime_tests::bundle::PATH;
use runtime_tests::{Case, Output, Value, host, json, require};

const CURRENT: &str = "read:/proc/self/attr/apparmor/current";
const DENIED: &str = "create:/data/denied";
const ALLOWED: &str = "create:/data/allowed";
const DENY: &str = "deny /data/denied w,";

/// A case with a directory that is everybody's, and no sticky one.
fn case() -> Case {
    let c = Case::new();
    fs::create_dir(c.rootfs("data")).unwrap();
    fs::set_permissions(c.rootfs("data"), fs::Permissions::from_mode(0o777)).unwrap();
    c
}

/// The profile the report was made under.
fn label(report: &Value) -> &str {
    report[CURRENT].as_str().expect("a label").trim()
}

#[track_caller]
fn assert_confined(report: &Value, profile: &Profile<'_>, what: &str) {
    assert_eq!(label(report), profile.enforced(), "{what}");
    assert_eq!((&report[DENIED], &report[ALLOWED]), (&json!("EACCES"), &json!(0)), "{what}");
}

#[track_caller]
fn assert_free(report: &Value, what: &str) {
    assert_eq!(label(report), "unconfined", "{what}");
    assert_eq!((&report[DENIED], &report[ALLOWED]), (&json!(0), &json!(0)), "{what}");
}

/// A process document for `exec --process` that runs the probe.
fn document(c: &Case, more: Value) -> PathBuf {
    let mut process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": [PATH],
        "args": ["/bin/probe", "try", CURRENT, DENIED, ALLOWED],
    });
    process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let file = c.dir.join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    file
}

fn exec_document(c: &Case, more: Value) -> Output {
    c.orlop(&["exec", "--process"]).arg(document(c, more)).arg(&c.id).go()
}

fn exec_try(c: &Case, flags: &[&str]) -> Value {
    c.exec_probe(flags, &["try", CURRENT, DENIED, ALLOWED])
}

/// A running container; `edit` has changed its config.
fn started(c: &mut Case) -> &Case {
    c.args(&["/bin/sleep", "1000"]);
    c.start();
    c
}

#[test]
fn profile_denies_a_write_to_init_and_to_exec() {
    require!(host::apparmor());
    let home = Case::new();
    let (profile, other) = (Profile::load(&home, "a", DENY), Profile::load(&home, "b", DENY));
    for nnp in [true, false] {
        for uid in [0, 1000] {
            let what = format!("no_new_privs {nnp}, uid {uid}");
            let mut c = case();
            c.set("/process/noNewPrivileges", nnp).set("/process/user", json!({ "uid": uid, "gid": uid }));
            assert_free(&c.attempts(&[CURRENT, DENIED, ALLOWED]), &what);
            fs::remove_file(c.rootfs("data/denied")).unwrap();
            c.set("/process/apparmorProfile", profile.name.as_str());
            assert_confined(&c.attempts(&[CURRENT, DENIED, ALLOWED]), &profile, &what);
            let c = started(&mut c);
            assert_eq!(apparmor::of(c.pid()), profile.enforced());
            assert_confined(&exec_try(c, &[]), &profile, &format!("exec, {what}"));
            assert_confined(&exec_try(c, &["--no-new-privs"]), &profile, &format!("exec --no-new-privs, {what}"));
            assert_confined(&exec_try(c, &["--apparmor", &other.name]), &other, &format!("exec --apparmor, {what}"));
            let process = |more| exec_document(c, more).ok().last_json();
            let set = json!({ "noNewPrivileges": nnp });
            assert_confined(&process(set), &profile, &format!("a document without a profile, {what}"));
            let set = json!({ "noNewPrivileges": nnp, "apparmorProfile": other.name });
            assert_confined(&process(set), &other, &format!("a document's own profile, {what}"));
            c.delete();
        }
    }
}

/// The engines' word for "no profile". It is more than silence: a profile of
/// the host's may go by the path of a program, whatever root it is in.
#[test]
fn unconfined_is_a_request() {
    require!(host::apparmor());
    let mut c = case();
    let home = Case::new();
    let path = format!("/bin/probe-{}", c.id);
    fs::copy(runtime_tests::paths::probe(), c.rootfs(&path)).unwrap();
    let attached = Profile::with(&home, "by-path", &path, DENY);
    let profile = Profile::load(&home, "a", DENY);
    c.args(&[&path, "try", CURRENT, DENIED, ALLOWED]);
    assert_confined(&c.run().ok().last_json(), &attached, "silence");
    c.set("/process/apparmorProfile", "unconfined");
    assert_free(&c.run().ok().last_json(), "unconfined");
    c.set("/process/apparmorProfile", profile.name.as_str());
    let c = started(&mut c);
    let command = [path.as_str(), "try", CURRENT, DENIED, ALLOWED];
    let exec = |flags: &[&str]| c.exec(flags, &command).go().ok().last_json();
    fs::remove_file(c.rootfs("data/denied")).unwrap();
    assert_confined(&exec(&[]), &profile, "the container's");
    assert_free(&exec(&["--apparmor", "unconfined"]), "exec --apparmor unconfined");
    fs::remove_file(c.rootfs("data/denied")).unwrap();
    let set = json!({ "apparmorProfile": "unconfined" });
    assert_free(&exec_document(c, set).ok().last_json(), "a document");
    c.delete();
}

#[test]
fn stacked_profiles_are_all_in_force() {
    require!(host::apparmor());
    let home = Case::new();
    let (a, b) = (Profile::load(&home, "a", DENY), Profile::load(&home, "b", "deny /data/allowed w,"));
    let lax = Profile::with(&home, "c", "flags=(complain)", "");
    let mut c = case();
    let stack = format!("{}//&{}", b.name, a.name);
    c.set("/process/apparmorProfile", stack.as_str());
    let r = c.attempts(&[CURRENT, DENIED, ALLOWED]);
    assert_eq!((&r[DENIED], &r[ALLOWED]), (&json!("EACCES"), &json!("EACCES")), "{r}");
    assert!(label(&r).contains(&a.name) && label(&r).contains(&b.name), "{r}");
    // The modes may differ, and one that allows all takes nothing away.
    c.set("/process/apparmorProfile", format!("{}//&{}", a.name, lax.name));
    let r = c.attempts(&[CURRENT, DENIED, ALLOWED]);
    assert_eq!((&r[DENIED], &r[ALLOWED]), (&json!("EACCES"), &json!(0)), "{r}");
    c.set("/process/apparmorProfile", format!("{}//&unconfined", a.name));
    assert_eq!(c.attempts(&[DENIED])[DENIED], json!("EACCES"));
}

#[test]
fn complain_mode_only_complains() {
    require!(host::apparmor());
    let home = Case::new();
    let profile = Profile::with(&home, "a", "flags=(complain)", DENY);
    let mut c = case();
    c.set("/process/apparmorProfile", profile.name.as_str());
    let r = c.attempts(&[CURRENT, ALLOWED]);
    assert_eq!((label(&r), &r[ALLOWED]), (format!("{} (complain)", profile.name).as_str(), &json!(0)));
}

/// Before anything is touched: no hook has run, no cgroup was made.
#[test]
fn profile_that_is_not_loaded() {
    require!(host::apparmor());
    let mut c = case();
    let seen = c.dir.join("hook");
    c.push("/hooks/createRuntime", json!({ "path": "/bin/touch", "args": ["touch", seen] }));
    for name in ["orlop-no-such-profile", "unconfined//&orlop-no-such-profile", "no such", "//&", ":no-namespace:x"] {
        c.set("/process/apparmorProfile", name);
        let loads = ["process.apparmorProfile", name, "is not loaded", "apparmor_parser -r", "`/proc/self/attr/"];
        c.create().fails_with(&loads);
        assert!(!seen.exists(), "{name}: a hook ran");
        c.assert_nothing_left();
    }
    let c = Case::started();
    let says = ["orlop-no-such-profile", "is not loaded"];
    c.exec(&["--apparmor", "orlop-no-such-profile"], &["/bin/true"]).go().exits(255).says(&says);
    exec_document(&c, json!({ "apparmorProfile": "orlop-no-such-profile" })).exits(255).says(&says);
    assert_eq!(c.status(), "running");
    c.delete();
}

/// Programs of the image that run as hooks are no less confined than its own.
#[test]
fn start_hook_is_confined() {
    require!(host::apparmor());
    let home = Case::new();
    let profile = Profile::load(&home, "a", DENY);
    let mut c = case();
    c.set("/process/apparmorProfile", profile.name.as_str());
    let script = "cat /proc/self/attr/apparmor/current > /tmp/hook";
    c.push("/hooks/startContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    c.run().ok();
    assert_eq!(fs::read_to_string(c.rootfs("tmp/hook")).unwrap().trim(), profile.enforced());
}

/// orlop under a profile, as in a nested container or a confined engine.
#[test]
fn runtime_that_is_confined_itself() {
    require!(host::apparmor().and_then(|()| host::program("aa-exec")));
    let home = Case::new();
    let (free, bound) = (Profile::load(&home, "free", "change_profile,"), Profile::load(&home, "bound", ""));
    let profile = Profile::load(&home, "a", DENY);
    let mut c = case();
    c.args(&["/bin/probe", "try", CURRENT, DENIED, ALLOWED]);
    let run = |c: &Case, under: &Profile<'_>| {
        c.write();
        let run = c.program("aa-exec").args(["-p", &under.name, "--"]).arg(runtime_tests::paths::orlop());
        run.arg("--root").arg(&c.root).args(["run", "-b"]).arg(&c.bundle).arg(&c.id).go()
    };
    c.set("/process/apparmorProfile", profile.name.as_str()).set("/process/noNewPrivileges", false);
    assert_confined(&run(&c, &free).ok().last_json(), &profile, "changed");
    // With no_new_privs nothing may be taken away: both profiles are in force.
    c.set("/process/noNewPrivileges", true);
    let r = run(&c, &free).ok().last_json();
    assert_eq!((&r[DENIED], &r[ALLOWED]), (&json!("EACCES"), &json!(0)), "{r}");
    assert!(label(&r).contains(&profile.name) && label(&r).contains(&free.name), "{r}");
    c.set("/process/apparmorProfile", "unconfined");
    assert!(label(&run(&c, &free).ok().last_json()).contains(&free.name), "no_new_privs keeps what we are under");
    c.set("/process/noNewPrivileges", false);
    assert_free(&run(&c, &free).ok().last_json(), "asked to be let out, and allowed to");
    // What its own profile forbids is an error that says so, not a container without.
    for wanted in [profile.name.as_str(), "unconfined"] {
        c.set("/process/apparmorProfile", wanted);
        let own = format!("orlop itself is confined by \"{}", bound.name);
        run(&c, &bound).fails_with(&["process.apparmorProfile", "attr/apparmor/exec", "permission denied", &own]);
        c.assert_nothing_left();
    }
    c.unset("/process/apparmorProfile");
    assert_eq!(label(&run(&c, &bound).ok().last_json()), bound.enforced(), "nothing was asked for");
}
