//! Hooks: when, where, with what, and what their failure does.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime_tests::{Case, Value, json, leaks};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook running a shell script on the host.
fn shell(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// The file on the host where hooks note things. In the rootfs, so that
/// startContainer hooks reach it as well.
fn notes(c: &Case) -> PathBuf {
    c.rootfs("notes")
}

fn lines(c: &Case) -> Vec<String> {
    fs::read_to_string(notes(c)).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn order() {
    let mut c = Case::new();
    let file = notes(&c).display().to_string();
    for kind in KINDS {
        let at = if kind == "startContainer" { "/notes" } else { &file };
        let two = [shell(&format!("echo {kind} 1 >> {at}")), shell(&format!("echo {kind} 2 >> {at}"))];
        c.set(&format!("/hooks/{kind}"), json!(two));
    }
    c.sh("echo program >> /notes");
    c.create().ok();
    let created =
        ["prestart 1", "prestart 2", "createRuntime 1", "createRuntime 2", "createContainer 1", "createContainer 2"];
    assert_eq!(lines(&c), created);
    c.verb("start").ok();
    c.wait_status("stopped");
    let mut started = lines(&c).split_off(created.len());
    assert_eq!(started[..2], ["startContainer 1", "startContainer 2"]);
    // poststart runs beside the program once that is started.
    started.retain(|l| l != "program");
    assert_eq!(started[2..], ["poststart 1", "poststart 2"]);
    c.verb("delete").ok();
    assert_eq!(lines(&c).split_off(created.len() + 5), ["poststop 1", "poststop 2"]);
}

#[test]
fn state_on_stdin() {
    let mut c = Case::new();
    c.set("/annotations", json!({ "a": "b" }));
    for kind in KINDS {
        let at = if kind == "startContainer" { "/notes".to_owned() } else { notes(&c).display().to_string() };
        c.push(&format!("/hooks/{kind}"), shell(&format!("cat >> {at}; echo >> {at}")));
    }
    c.args(&["/bin/sleep", "1000"]);
    c.create().ok();
    let pid = c.pid();
    c.verb("start").ok();
    c.delete();
    let states: Vec<Value> =
        lines(&c).iter().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(states.len(), 6);
    let status: Vec<&str> = states.iter().map(|s| s["status"].as_str().unwrap()).collect();
    assert_eq!(status[..3], ["created"; 3]);
    assert!(["created", "starting"].contains(&status[3]), "{status:?}");
    assert_eq!(status[4..], ["running", "stopped"]);
    for (kind, s) in KINDS.iter().zip(&states) {
        assert_eq!(s["id"], c.id.as_str(), "{kind}");
        assert_eq!(s["bundle"], c.bundle.to_str().unwrap(), "{kind}");
        assert_eq!(s["annotations"], json!({ "a": "b" }), "{kind}");
        assert!(s["ociVersion"].is_string(), "{kind}");
    }
    for n in [0, 1, 4] {
        assert_eq!(states[n]["pid"], pid, "{}", KINDS[n]);
    }
    for n in [2, 3] {
        assert_eq!(states[n]["pid"], 1, "{} runs in the container, which counts from 1", KINDS[n]);
    }
    assert!(states[5]["pid"].is_null() || states[5]["pid"] == 0);
}

#[test]
fn namespaces() {
    let mut c = Case::new();
    let file = notes(&c).display().to_string();
    for kind in KINDS {
        let at = if kind == "startContainer" { "/notes" } else { &file };
        let script = format!("echo {kind} $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/uts) >> {at}");
        c.push(&format!("/hooks/{kind}"), shell(&script));
    }
    c.sh("echo program $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/uts) >> /notes; sleep 1000");
    c.start();
    runtime_tests::command::wait_for("the program", || (lines(&c).len() >= 6).then_some(()));
    c.delete();
    let all = lines(&c);
    let of = |name: &str| -> Vec<String> {
        let line = all.iter().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {all:?}"));
        line.split(' ').skip(1).map(str::to_owned).collect()
    };
    let host: Vec<String> = ["mnt", "uts"]
        .iter()
        .map(|n| fs::read_link(format!("/proc/self/ns/{n}")).unwrap().to_string_lossy().into_owned())
        .collect();
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        assert_eq!(of(kind), host, "{kind} runs in the runtime's namespaces");
    }
    for kind in ["createContainer", "startContainer"] {
        assert_eq!(of(kind), of("program"), "{kind} runs in the container's namespaces");
    }
}

#[test]
fn mounts_are_ready_and_pivot_has_not_happened() {
    // nvidia's and CDI's hooks work on the mounted rootfs by its host path.
    let mut c = Case::new();
    let (rootfs, file) = (c.rootfs("").display().to_string(), c.dir.join("seen").display().to_string());
    let look = format!("grep -c ' {}/dev/pts ' /proc/self/mountinfo >> {file}; true", rootfs.trim_end_matches('/'));
    c.push("/hooks/createContainer", shell(&look));
    c.push(
        "/hooks/createRuntime",
        shell(&format!("test -d /proc/$(cat | tr ',' '\\n' | grep '\"pid\"' | tr -cd 0-9)/root && echo ok >> {file}")),
    );
    c.create().ok();
    let text = fs::read_to_string(c.dir.join("seen")).unwrap();
    assert_eq!(text, "ok\n1\n");
    c.delete();
}

#[test]
fn startcontainer_path_is_the_containers() {
    let mut c = Case::new();
    fs::copy(c.rootfs("bin/busybox"), c.rootfs("only-inside")).unwrap();
    c.push("/hooks/startContainer", json!({ "path": "/only-inside", "args": ["touch", "/made-by-hook"] }));
    c.push("/hooks/createContainer", json!({ "path": "/only-inside", "args": ["true"] }));
    // createContainer is looked up on the host, where it isn't.
    c.create().fails_with(&["hooks.createContainer[0]", "/only-inside"]);
    c.assert_nothing_left();
    c.unset("/hooks/createContainer");
    c.run().ok();
    assert!(c.rootfs("made-by-hook").exists());
}

#[test]
fn environment_and_arguments() {
    let mut c = Case::new();
    let file = c.dir.join("seen").display().to_string();
    let script = format!("(echo $0 $1; env | grep -E '^(ONLY|CALLER)' | sort) >> {file}");
    let mut hook = json!({ "path": "/bin/sh", "args": ["argv0", "-c", script, "zero", "one"] });
    hook["env"] = json!(["ONLY=this", "PATH=/usr/bin:/bin"]);
    c.push("/hooks/createRuntime", hook.clone());
    hook.as_object_mut().unwrap().remove("env");
    c.push("/hooks/createRuntime", hook);
    c.launch("create", &[], &c.id).env("CALLER", "runtime").go().ok();
    assert_eq!(fs::read_to_string(c.dir.join("seen")).unwrap(), "zero one\nONLY=this\nzero one\nCALLER=runtime\n");
    c.delete();
}

#[test]
fn arguments_default_to_the_path() {
    let mut c = Case::new();
    let script = c.dir.join("hook");
    fs::write(&script, format!("#!/bin/sh\necho $0 $# > {}/seen\n", c.dir.display())).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    c.push("/hooks/createRuntime", json!({ "path": script }));
    c.run().ok();
    assert_eq!(fs::read_to_string(c.dir.join("seen")).unwrap(), format!("{} 0\n", script.display()));
}

#[test]
fn failure_before_start() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut c = Case::new();
        c.push(&format!("/hooks/{kind}"), shell("echo reason of the failure >&2; exit 3"));
        c.sh("echo ran > /ran");
        c.create().fails_with(&[&format!("hooks.{kind}[0]"), "/bin/sh", "reason of the failure", "3"]);
        c.assert_nothing_left();
        c.verb("state").fails_with(&["container does not exist"]);
        assert!(!c.rootfs("ran").exists());
    }
}

#[test]
fn later_hooks_do_not_run_after_a_failure() {
    let mut c = Case::new();
    let file = c.dir.join("ran");
    c.push("/hooks/createRuntime", shell("exit 1"));
    c.push("/hooks/createRuntime", shell(&format!("touch {}", file.display())));
    c.push("/hooks/createContainer", shell(&format!("touch {}", file.display())));
    c.create().exits(1);
    assert!(!file.exists());
}

#[test]
fn failure_of_startcontainer() {
    let mut c = Case::new();
    c.push("/hooks/startContainer", shell("echo not today >&2; exit 1")).sh("echo ran > /ran");
    c.create().ok();
    c.verb("start").fails_with(&["hooks.startContainer[0]"]);
    c.wait_status("stopped");
    assert!(!c.rootfs("ran").exists());
    c.verb("delete").ok();
}

#[test]
fn failure_of_poststart_kills_the_container() {
    let mut c = Case::new();
    c.push("/hooks/poststart", shell("echo broken >&2; exit 1")).args(&["/bin/sleep", "1000"]);
    c.create().ok();
    c.verb("start").fails_with(&["hooks.poststart[0]", "broken"]);
    runtime_tests::command::wait_for("its end", || leaks::processes(&c.id).is_empty().then_some(()));
    c.delete();
}

#[test]
fn failure_of_poststop_is_a_warning() {
    let mut c = Case::new();
    let file = c.dir.join("second");
    c.push("/hooks/poststop", shell("exit 1")).push("/hooks/poststop", shell(&format!("touch {}", file.display())));
    c.start();
    c.wait_status("stopped");
    c.verb("delete").ok();
    assert!(file.exists(), "the next one still runs");
}

#[test]
fn poststop_comes_after_the_resources_are_gone() {
    let mut c = Case::new();
    let (state, seen) = (c.root.join(&c.id), c.dir.join("seen"));
    c.push("/hooks/poststop", shell(&format!("ls -d {} > {} 2>&1", state.display(), seen.display())));
    c.run().ok();
    assert!(fs::read_to_string(seen).unwrap().contains("No such file"));
}

#[test]
fn timeout() {
    let mut c = Case::new();
    let mut hook = shell("exec sleep 1000");
    hook["timeout"] = json!(1);
    c.push("/hooks/createRuntime", hook);
    let start = Instant::now();
    c.create().fails_with(&["hooks.createRuntime[0]", "timed out"]);
    assert!((1..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    c.assert_nothing_left();
}

#[test]
fn hook_that_does_not_read() {
    // More state than a pipe holds, and nobody reads: neither a hang nor a SIGPIPE.
    let mut c = Case::new();
    c.set("/annotations", json!({ "big": "x".repeat(300_000) }));
    c.push("/hooks/createRuntime", shell("exec 0</dev/null; exit 0"));
    c.push("/hooks/poststop", json!({ "path": "/bin/true" }));
    c.run().ok();
}

#[test]
fn hook_that_leaves_a_daemon() {
    // It must not hold up create, nor inherit anything of ours.
    let mut c = Case::new();
    let seen = c.dir.join("fds");
    let script = format!("ls /proc/self/fd > {}; sleep 3 & exit 0", seen.display());
    c.push("/hooks/createRuntime", shell(&script));
    let start = Instant::now();
    c.create().ok();
    assert!(start.elapsed() < Duration::from_secs(2), "waited for the daemon: {:?}", start.elapsed());
    // 0, 1, 2 and the directory ls reads.
    assert_eq!(fs::read_to_string(seen).unwrap().lines().count(), 4);
    c.delete();
    runtime_tests::command::wait_for("the daemon's end", || leaks::processes(&c.id).is_empty().then_some(()));
}

#[test]
fn missing_program() {
    let mut c = Case::new();
    c.push("/hooks/createRuntime", json!({ "path": "/no/such/hook" }));
    c.create().fails_with(&["hooks.createRuntime[0]", "/no/such/hook", "no such file"]);
    c.assert_nothing_left();
}

#[test]
fn hooks_come_from_the_config_at_create() {
    let mut c = Case::new();
    let file = c.dir.join("stopped");
    c.push("/hooks/poststop", shell(&format!("touch {}", file.display())));
    c.start();
    c.wait_status("stopped");
    fs::write(c.bundle.join("config.json"), "{}").unwrap();
    c.verb("delete").ok();
    assert!(file.exists());
}

/// A container that a hook stopped is destroyed, which ends with its poststop
/// hooks (runtime-spec, "Lifecycle", steps 3 to 5, 12 and 13).
#[test]
fn failure_before_start_ends_with_poststop() {
    for kind in KINDS[..5].iter().chain(["nothing"].iter()) {
        let mut c = Case::new();
        let file = c.dir.join("stopped");
        c.push(&format!("/hooks/{kind}"), shell("exit 3"));
        let script = "grep -o '\"status\":\"[a-z]*\"' >> $0; ls $1 >> $0";
        let args = json!(["sh", "-c", script, file, c.root]);
        c.push("/hooks/poststop", json!({ "path": "/bin/sh", "args": args }));
        // `run` goes on to where `start` would, and destroys as well.
        let verb = if KINDS[..3].contains(kind) { "create" } else { "run" };
        let out = c.launch(verb, &[], &c.id).go();
        if *kind == "nothing" {
            out.ok();
        } else {
            out.fails_with(&[&format!("hooks.{kind}[0]")]);
        }
        assert_eq!(fs::read_to_string(&file).unwrap_or_default(), "\"status\":\"stopped\"\n", "{kind}");
    }
    // Before there was anything to hook into, nothing was stopped.
    let mut c = Case::new();
    let file = c.dir.join("stopped");
    c.push("/hooks/poststop", shell(&format!("touch {}", file.display())));
    c.mount("/m", "nosuchfs", "x", &[]).create().exits(1);
    assert!(!file.exists());
}
