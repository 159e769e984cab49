//! How devices of others come into a container: what docker asks a driver for,
//! what it reads from a CDI file, and a runtime around the runtime that adds hooks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use runtime_tests::engines::docker::WRAPPED;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, json, paths, require};

use super::walk::{Walk, eventually, text};

#[test]
fn gpus_without_a_driver_are_refused_by_docker() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let out = w.run(&["--gpus=all"], "true").go().exits(125);
    out.says(&["could not select device driver", "capabilities: [[gpu]]"]);
    w.run(&["--device=example.com/nosuch=all"], "true").go().exits(125).says(&["example.com/nosuch=all"]);
}

fn script(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A device's node, variable, library and hook by a CDI file, as its toolkit writes it.
#[test]
fn a_device_by_cdi() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let (library, hook) = (w.c.dir.join("library"), w.c.dir.join("hook"));
    fs::write(&library, "a library\n").unwrap();
    // As hooks that renew a loader's cache do: within the container's mounts, before it is its root.
    script(
        &hook,
        r#"bundle=$(jq -r .bundle)
        root=$(jq -r .root.path "$bundle/config.json")
        echo "$1 with $FROM" >"$root/made-by-hook""#,
    );
    let edits = json!({
        "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/fuse", "permissions": "rw" }],
        "env": ["GPU=0"],
        "mounts": [{ "hostPath": library, "containerPath": "/usr/lib/libgpu.so", "options": ["ro", "nosuid", "nodev", "bind"] }],
        "hooks": [{ "hookName": "createContainer", "path": hook, "args": ["hook", "made"], "env": ["PATH=/usr/bin:/bin", "FROM=variable"] }],
    });
    let kind = "example.com/gpu";
    let spec = json!({ "cdiVersion": "0.6.0", "kind": kind, "devices": [{ "name": "0", "containerEdits": edits }] });
    fs::create_dir_all("/etc/cdi").unwrap();
    let file = format!("/etc/cdi/{}.json", w.c.id);
    fs::write(&file, spec.to_string()).unwrap();
    let flag = format!("--device={kind}=0");
    let see =
        "echo $GPU; stat -c '%t:%T' /dev/gpu0; (: </dev/gpu0) && echo opened; cat /usr/lib/libgpu.so /made-by-hook";
    // The daemon reads the directory when it is told that something changed there.
    let out = eventually("the device to be known", || {
        let out = w.run(&[&flag], see).go();
        (!out.stderr.contains("unresolvable")).then_some(out)
    });
    fs::remove_file(&file).unwrap();
    assert_eq!(out.ok().text(), "0\na:e5\nopened\na library\nmade with variable");
}

/// What nvidia-container-runtime does: it writes a hook into the bundle's
/// config at `create`, and is the runtime from then on.
fn wrap(log: &Path, hook: &Path) {
    let lines = format!(
        r#"for word; do
            case $previous in --bundle) bundle=$word ;; esac
            case $word in create) create=yes ;; esac
            previous=$word
        done
        echo "$*" >>{log}
        if [ -n "$create" ]; then
            config=$bundle/config.json
            jq '.hooks.prestart += [{{path: "{hook}", args: ["hook", "prestart"]}}]
                | .hooks.createRuntime += [{{path: "{hook}", args: ["hook", "createRuntime"]}}]
                | .hooks.poststop += [{{path: "{hook}", args: ["hook", "poststop"]}}]' "$config" >"$config.new" &&
                cat "$config.new" >"$config"
        fi
        exec {orlop} "$@""#,
        log = text(log),
        hook = text(hook),
        orlop = text(paths::orlop()),
    );
    script(Path::new(WRAPPED), &lines);
}

#[test]
fn a_runtime_around_it_adds_hooks() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let (log, hook, driver) = (w.c.dir.join("log"), w.c.dir.join("hook"), w.dir("driver"));
    fs::write(driver.join("libgpu.so"), "a driver's library\n").unwrap();
    // The driver's files are mounted into the container from its own mount namespace, by the hook.
    let lines = format!(
        r#"state=$(cat)
        field() {{ echo "$state" | jq -r ".$1"; }}
        echo "$1: $(field status) $(field id)" >>{log}
        [ "$1" = prestart ] || exit 0
        root=$(jq -r .root.path "$(field bundle)/config.json")
        exec nsenter --mount --target "$(field pid)" sh -c "mkdir $root/driver && mount --bind {driver} $root/driver""#,
        log = text(&log),
        driver = text(&driver),
    );
    script(&hook, &format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{lines}"));
    wrap(&log, &hook);
    let id = w.start(&["--runtime=wrapped"], "cat /driver/libgpu.so; sleep 1000");
    w.wait_log(&id, "a driver's library\n");
    // exec by the same runtime, whose state is the wrapped one's.
    assert_eq!(w.exec(&id, "cat /driver/libgpu.so").ok().text(), "a driver's library");
    w.docker(&["rm", "--force", &id]).go().ok();
    let said = fs::read_to_string(&log).unwrap();
    let hooks: Vec<&str> = said.lines().filter(|l| l.ends_with(&id) && l.contains(": ")).collect();
    let first = if hooks.first().is_some_and(|l| l.contains("creating")) { "creating" } else { "created" };
    let expected =
        [format!("prestart: {first} {id}"), format!("createRuntime: {first} {id}"), format!("poststop: stopped {id}")];
    assert_eq!(hooks, expected, "{said}");
    for verb in [" create ", " start ", " exec ", " kill ", " delete "] {
        assert!(said.lines().any(|l| l.contains(verb)), "{verb}: {said}");
    }
    fs::remove_file(WRAPPED).unwrap();
}

/// A hook that fails is told of in docker's words, and nothing is left.
#[test]
fn a_hook_that_fails_is_told_of() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let (log, hook) = (w.c.dir.join("log"), w.c.dir.join("hook"));
    script(&hook, "echo no such driver here >&2; exit 3");
    wrap(&log, &hook);
    let out = w.run(&["--runtime=wrapped"], "true").go();
    assert_ne!(out.code(), 0, "it ran");
    out.says(&["hook"]);
    fs::remove_file(WRAPPED).unwrap();
}
