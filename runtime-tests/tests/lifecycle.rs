//! From `create` to `delete`: states, transitions, the texts engines compare.

use std::fs;

use runtime_tests::command::wait_for;
use runtime_tests::{Case, Value, json};

#[test]
fn states_from_create_to_delete() {
    let mut c = Case::new();
    c.args(&["/bin/probe", "trap", "15"]);
    c.create().ok();
    let state = c.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], c.id.as_str());
    assert_eq!(state["bundle"], c.bundle.to_str().unwrap());
    assert_eq!(state["rootfs"], c.rootfs("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(state["ociVersion"].as_str().map(|v| v.split('.').count() >= 3), Some(true));
    let created = state["created"].as_str().expect("created");
    assert!(created.ends_with('Z') && created.contains('T'), "RFC 3339 in UTC: {created}");
    assert!(state["pid"].as_i64().unwrap() > 1);

    c.verb("start").ok();
    assert_eq!(c.status(), "running");
    // PID 1 gets only signals it waits for: it must have got that far.
    // The signal may have worked by the time the next one is sent.
    wait_for("the trap", || {
        c.kill("TERM");
        (c.status() == "stopped").then_some(())
    });
    let state = c.state();
    assert_eq!((state["status"].as_str(), state["pid"].as_i64()), (Some("stopped"), Some(0)));
    c.verb("delete").ok();
    c.verb("state").fails_with(&["container does not exist"]);
}

#[test]
fn nothing_is_printed_on_success() {
    // Engines merge stderr into JSON they parse, and podman shows stray text to users.
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    for out in [c.create(), c.verb("start"), c.verb("pause"), c.verb("resume"), c.kill("KILL")] {
        let out = out.ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    }
    c.wait_status("stopped");
    assert_eq!(c.verb("state").ok().stderr, "");
    let out = c.verb("delete").ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
}

#[test]
fn program_does_not_run_before_start() {
    let mut c = Case::new();
    c.sh("echo ran > /ran");
    c.create().ok();
    assert!(!c.rootfs("ran").exists());
    c.verb("start").ok();
    wait_for("the program", || c.rootfs("ran").exists().then_some(()));
    c.wait_status("stopped");
    c.verb("delete").ok();
}

#[test]
fn start_is_for_created_containers_only() {
    let c = Case::started();
    c.verb("start").fails_with(&["cannot start an already running container"]);
    c.verb("pause").ok();
    c.verb("start").fails_with(&["cannot start a container in the paused state"]);
    c.verb("resume").ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    let before = c.verb("state").ok().stdout;
    c.verb("start").fails_with(&["cannot start a container that has stopped"]);
    assert_eq!(c.verb("state").ok().stdout, before, "a refused start changes nothing");
    c.delete();
}

#[test]
fn delete_is_for_stopped_containers() {
    let c = Case::started();
    let text = format!("cannot delete container {} that is not stopped: running", c.id);
    c.verb("delete").fails_with(&[&text]);
    assert_eq!(c.status(), "running");
    c.verb("pause").ok();
    let text = format!("cannot delete container {} that is not stopped: paused", c.id);
    c.verb("delete").fails_with(&[&text]);
    assert_eq!(c.status(), "paused");
    // --force works from paused as well.
    c.delete();
    c.verb("state").fails_with(&["container does not exist"]);
}

#[test]
fn created_container_can_be_deleted() {
    // Against the letter of the spec, as runc and crun do: buildah relies on it.
    let c = Case::new();
    c.create().ok();
    c.verb("delete").ok();
}

#[test]
fn created_container_can_be_killed() {
    let c = Case::new();
    c.create().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("start").fails_with(&["cannot start a container that has stopped"]);
    c.verb("delete").ok();
}

#[test]
fn unknown_container() {
    let c = Case::new();
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        c.verb(verb).fails_with(&["container does not exist"]);
    }
    c.exec(&[], &["/bin/true"]).go().exits(255).says(&["container does not exist"]);
    // Engines clean up after a failed create this way.
    let out = c.orlop(&["delete", "--force", &c.id]).go().ok();
    assert_eq!(out.stderr, "");
}

#[test]
fn half_made_state_is_removed_by_force() {
    let c = Case::new();
    fs::create_dir(c.root.join(&c.id)).unwrap();
    c.orlop(&["delete", "--force", &c.id]).go().ok();
    assert!(!c.root.join(&c.id).exists());
    // Nor does a state that can't be read stand in the way.
    fs::create_dir(c.root.join(&c.id)).unwrap();
    fs::write(c.root.join(&c.id).join("state.json"), "{ no JSON").unwrap();
    c.orlop(&["delete", "--force", &c.id]).go().ok();
    assert!(!c.root.join(&c.id).exists());
}

#[test]
fn id_is_taken() {
    let c = Case::new();
    c.create().ok();
    let pid = c.pid();
    c.create().fails_with(&["container with given ID already exists"]);
    assert_eq!((c.pid(), c.status().as_str()), (pid, "created"), "the first one is not touched");
    c.delete();
    // And free again afterwards.
    c.create().ok();
    c.delete();
}

#[test]
fn malformed_ids() {
    let c = Case::new();
    for id in ["", ".", "..", "a/b", "../x", "a b", "a\nb", "é", "a:b", "/"] {
        c.launch("create", &[], id).go().fails_with(&["invalid container ID format"]);
        c.orlop(&["state", id]).go().fails_with(&[]);
    }
    c.write();
    c.orlop(&["create", "--bundle"]).arg(&c.bundle).go().exits(1);
    for verb in ["state", "start", "kill", "delete"] {
        let out = c.orlop(&[verb]).go();
        assert_ne!(out.code(), 0, "{verb} without an id");
    }
}

#[test]
fn ids_of_every_allowed_kind() {
    let c = Case::new();
    for end in ["_", "+", "-", ".", ".x", "A9"] {
        let id = format!("{}{end}", c.id);
        c.launch("create", &[], &id).go().ok();
        assert_eq!(c.orlop(&["state", &id]).go().ok().json()["id"], id.as_str());
        c.orlop(&["delete", "--force", &id]).go().ok();
    }
}

#[test]
fn kill_takes_names_and_numbers() {
    let mut c = Case::new();
    c.args(&["/bin/probe", "trap", "10", "12", "15", "34"]);
    let run = c.launch("run", &[], &c.id).spawn();
    wait_for("ready", || run.stdout_so_far().contains("ready").then_some(()));
    for signal in ["USR1", "SIGUSR2", "sigusr1", "12", "34", "SIGRTMIN"] {
        c.kill(signal).ok();
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    c.kill("NOSUCH").fails_with(&["unknown signal \"NOSUCH\""]);
    c.kill("-5").fails_with(&[]);
    // TERM is the default.
    c.verb("kill").ok();
    let out = run.wait().exits(55);
    let lines: Vec<&str> = out.stdout.lines().collect();
    let wanted = ["ready", "signal 10", "signal 12", "signal 10", "signal 12", "signal 34", "signal 34", "signal 15"];
    assert_eq!(lines, wanted);
}

#[test]
fn kill_on_stopped_has_no_effect() {
    let c = Case::new();
    c.start();
    c.wait_status("stopped");
    let before = c.verb("state").ok().stdout;
    c.kill("TERM").fails_with(&["container not running"]);
    c.kill("KILL").fails_with(&["container not running"]);
    assert_eq!(c.verb("state").ok().stdout, before);
    // The shim asks for this on every container without a pid namespace.
    c.orlop(&["kill", "--all", &c.id, "9"]).go().ok();
    c.verb("delete").ok();
}

#[test]
fn pause_and_resume() {
    let mut c = Case::new();
    c.sh("while :; do echo x >> /count; sleep 0.02; done");
    c.start();
    let count = || fs::metadata(c.rootfs("count")).map(|m| m.len()).unwrap_or(0);
    wait_for("a first line", || (count() > 0).then_some(()));
    c.verb("resume").fails_with(&["container not paused"]);
    c.verb("pause").ok();
    assert_eq!(c.status(), "paused");
    let frozen = count();
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert_eq!(count(), frozen, "a paused container does nothing");
    c.verb("pause").fails_with(&["container not running"]);
    c.verb("resume").ok();
    assert_eq!(c.status(), "running");
    wait_for("more lines", || (count() > frozen).then_some(()));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.verb("pause").fails_with(&["container not running"]);
    c.verb("resume").fails_with(&["container not paused"]);
    c.delete();
}

#[test]
fn init_that_dies_while_paused() {
    // The shim calls resume then; it must not hang.
    let c = Case::started();
    c.verb("pause").ok();
    c.kill("KILL").ok();
    c.verb("resume");
    c.wait_status("stopped");
    c.verb("delete").ok();
}

#[test]
fn config_is_read_once() {
    let mut c = Case::new();
    c.sh("echo original > /who");
    c.create().ok();
    fs::write(c.bundle.join("config.json"), r#"{"ociVersion":"1.0.2"}"#).unwrap();
    c.verb("start").ok();
    c.wait_status("stopped");
    assert_eq!(fs::read_to_string(c.rootfs("who")).unwrap(), "original\n");
    fs::remove_file(c.bundle.join("config.json")).unwrap();
    c.verb("delete").ok();
}

#[test]
fn container_without_process() {
    // The spec allows create, start must fail (engine-contract R-8).
    let mut c = Case::new();
    c.unset("/process");
    c.create().ok();
    assert_eq!(c.status(), "created");
    c.verb("start").exits(1);
    c.delete();
}

#[test]
fn missing_bundle_config_and_rootfs() {
    let c = Case::new();
    c.orlop(&["create", "--bundle", "/no/such/bundle", &c.id]).go().fails_with(&["/no/such/bundle", "no such file"]);
    c.orlop(&["create", "--bundle"]).arg(&c.bundle).arg(&c.id).go().fails_with(&["config.json", "no such file"]);
    let mut c2 = Case::new();
    c2.set("/root/path", "nowhere");
    c2.create().fails_with(&["root.path", "nowhere", "no such file"]);
    c2.set("/root/path", "config.json");
    c2.create().fails_with(&["root.path", "not a directory"]);
    c.assert_nothing_left();
    c2.assert_nothing_left();
}

#[test]
fn bundle_is_the_current_directory_by_default() {
    let mut c = Case::new();
    c.args(&["/bin/echo", "here"]);
    c.write();
    let out = c.orlop(&["run", &c.id]).cwd(&c.bundle).go().ok();
    assert_eq!(out.text(), "here");
    // Options are accepted behind the id, too.
    let out = c.orlop(&["run", &c.id, "-b"]).arg(&c.bundle).go().ok();
    assert_eq!(out.text(), "here");
    // And with one dash, the way Go's flag package takes them.
    let out = c.orlop(&["run", "-bundle"]).arg(&c.bundle).arg(&c.id).go().ok();
    assert_eq!(out.text(), "here");
    let out = c.orlop(&["run", &format!("--bundle={}", c.bundle.display()), &c.id]).go().ok();
    assert_eq!(out.text(), "here");
}

#[test]
fn missing_program() {
    let mut c = Case::new();
    let cases = [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/bin/nosuch", "exec: \"/bin/nosuch\": stat /bin/nosuch: no such file or directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ];
    for (program, text) in cases {
        c.args(&[program]);
        // At create already: docker and podman make exit codes 126 and 127 of it.
        c.create().fails_with(&[text]);
        c.assert_nothing_left();
    }
}

#[test]
fn program_is_found_in_the_containers_path() {
    let mut c = Case::new();
    fs::create_dir_all(c.rootfs("opt/x")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", c.rootfs("opt/x/only-here")).unwrap();
    c.set("/process/env", json!(["PATH=/nowhere:/opt/x:/bin", format!("ORLOP_TEST={}", c.id)]));
    // busybox looks at its name: one it doesn't know is an error of its own, 127.
    c.args(&["only-here"]);
    let out = c.run().exits(127);
    assert!(out.stderr.contains("applet not found"), "{}", out.stderr);
}

#[test]
fn list_shows_what_is_there() {
    let c = Case::new();
    assert_eq!(c.orlop(&["list", "--format", "json"]).go().ok().json(), json!([]));
    let mut ids: Vec<String> = ["a", "b"].iter().map(|end| format!("{}{end}", c.id)).collect();
    for id in &ids {
        c.launch("create", &[], id).go().ok();
    }
    let quiet = c.orlop(&["list", "-q"]).go().ok();
    let mut seen: Vec<&str> = quiet.stdout.lines().collect();
    seen.sort_unstable();
    ids.sort();
    assert_eq!(seen, ids);
    let list = c.orlop(&["list", "--format=json"]).go().ok().json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    for entry in list.as_array().unwrap() {
        assert!(entry["pid"].as_i64().unwrap() > 1);
        assert_eq!(entry["status"], "created");
        assert_eq!(entry["owner"], "root");
        assert_eq!(entry["bundle"], c.bundle.to_str().unwrap());
    }
    let table = c.orlop(&["list"]).go().ok().stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(table.lines().count(), 3);
    for id in &ids {
        c.orlop(&["delete", "-f", id]).go().ok();
    }
    c.bare().args(["--root", "/no/such/root", "list"]).go().exits(1);
}

#[test]
fn ps_lists_the_containers_processes() {
    let mut c = Case::new();
    c.sh("sleep 1000 & sleep 1000 & wait");
    c.start();
    let pids = wait_for("three processes", || {
        let list = c.orlop(&["ps", "--format", "json", &c.id]).go().ok().json();
        (list.as_array().unwrap().len() == 3).then_some(list)
    });
    assert!(pids.as_array().unwrap().contains(&json!(c.pid())));
    // An exec'ed process belongs to it.
    c.exec(&["-d"], &["/bin/sleep", "999"]).go().ok();
    let list = c.orlop(&["ps", "-f", "json", &c.id]).go().ok().json();
    assert_eq!(list.as_array().unwrap().len(), 4);
    let table = c.verb("ps").ok().stdout;
    assert!(table.lines().next().unwrap().split_whitespace().any(|w| w == "PID"), "{table}");
    assert_eq!(table.lines().count(), 5, "{table}");
    // What follows the id goes to ps(1).
    let table = c.orlop(&["ps", &c.id, "-o", "pid,args"]).go().ok().stdout;
    assert!(table.contains("sleep 999") && !table.contains("UID"), "{table}");
    c.delete();
}

#[test]
fn annotations_are_in_the_state() {
    let mut c = Case::new();
    c.set("/annotations", json!({ "org.example.key": "value", "odd key": "" }));
    c.create().ok();
    assert_eq!(c.state()["annotations"], json!({ "org.example.key": "value", "odd key": "" }));
    c.delete();
}

#[test]
fn state_is_empty_of_annotations_without_any() {
    let c = Case::new();
    c.create().ok();
    assert_eq!(c.state().get("annotations"), None::<&Value>);
    c.delete();
}

#[test]
fn processes_of_a_container_in_the_hosts_pid_namespace() {
    // delete --force must find what init left: nobody kills it with the namespace.
    let mut c = Case::new();
    c.no_namespace("pid").sh("sleep 1000 & sleep 1000 & exec sleep 1000");
    c.start();
    wait_for("three processes", || {
        let list = c.orlop(&["ps", "--format", "json", &c.id]).go().ok().json();
        (list.as_array().unwrap().len() == 3).then_some(())
    });
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.orlop(&["kill", "--all", &c.id, "9"]).go().ok();
    c.verb("delete").ok();
}

#[test]
fn symlinked_bundle_is_reported_resolved() {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    c.write();
    let link = c.dir.join("link");
    std::os::unix::fs::symlink(&c.bundle, &link).unwrap();
    c.orlop(&["create", "--bundle"]).arg(&link).arg(&c.id).go().ok();
    assert_eq!(c.state()["bundle"], c.bundle.to_str().unwrap());
    c.delete();
}

#[test]
fn example_config_runs() {
    let mut c = Case::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config.example.json");
    c.config = serde_json_of(file);
    c.env(&format!("ORLOP_TEST={}", c.id));
    fs::create_dir(c.bundle.join("data")).unwrap();
    let out = c.run().ok();
    assert!(out.stdout.contains("uid=0") && out.stdout.contains("\nexample\n/srv/data\n"), "{}", out.stdout);
}

fn serde_json_of(file: &str) -> Value {
    fs::read_to_string(file).unwrap().parse().expect("JSON")
}
