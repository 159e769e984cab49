//! Namespaces of the host's and of other containers', and ways to go without cgroups.

use std::fs;
use std::path::PathBuf;

use runtime_tests::engines::podman::podman;
use runtime_tests::engines::{IMAGE, Manager, cgroup_of, offered, program};
use runtime_tests::{Cmd, Value, host, paths, require};

use super::Podman;

const KINDS: [&str; 5] = ["pid", "ipc", "uts", "net", "cgroup"];

/// The host's own, as links.
fn of_the_host() -> [String; 5] {
    KINDS.map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned())
}

fn of(report: &Value) -> [String; 5] {
    KINDS.map(|kind| report["namespaces"][kind].as_str().unwrap().to_owned())
}

/// Without podman's `--network=none`.
fn report(p: &Podman, flags: &[&str]) -> [String; 5] {
    of(&p.command(&[&["run", "--rm"], flags, &[IMAGE, "probe", "report"]].concat()).go().ok().last_json())
}

fn joined_and_the_hosts(p: &Podman) {
    p.start(&["--ipc=shareable", "--hostname=first"], &["sleep", "1000"]);
    let first = of(&p.exec(&[], &["probe", "report"]).go().ok().last_json());
    let join = ["pid", "ipc", "uts", "net"].map(|kind| format!("--{kind}=container:{}", p.c.id));
    let join: Vec<&str> = join.iter().map(String::as_str).collect();
    assert_eq!(report(p, &join)[..4], first[..4], "another container's");
    assert!(first.iter().zip(of_the_host()).all(|(a, b)| *a != b), "nothing shared by itself");
    let host = report(p, &["--pid=host", "--ipc=host", "--uts=host", "--net=host", "--cgroupns=host"]);
    assert_eq!(host, of_the_host());
}

#[test]
fn namespaces_of_the_host_and_of_containers() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    joined_and_the_hosts(&Podman::new(Manager::Systemd));
}

/// With the host's pid namespace nothing ends by itself when the first process does.
#[test]
fn all_processes_end_with_a_container_in_the_hosts_pid_namespace() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    for manager in [Manager::Systemd, Manager::Cgroupfs] {
        let p = Podman::new(manager);
        p.start(&["--pid=host"], &["sh", "-c", "sleep 1001 & (trap '' TERM; sleep 1002) & exec probe trap 15"]);
        p.wait_log("ready");
        let cgroup = p.cgroup();
        let processes = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines().count();
        assert!(processes() >= 3);
        p.ok(&["stop", &p.c.id]);
        assert_eq!(p.inspect(&p.c.id, "State.ExitCode"), "55");
        runtime_tests::command::wait_for("the end of all", || (processes() == 0).then_some(()));
    }
}

/// containers.conf as docs/engines/podman.md has it, under the name of the runtime that is tested.
fn configured(p: &Podman, args: &[&str]) -> Cmd {
    configured_by(p, "runtime_supports_nocgroup", args)
}

/// The same; how the key is spelled that allows `--cgroups=disabled`.
fn configured_by(p: &Podman, key: &str, args: &[&str]) -> Cmd {
    let name = paths::orlop().file_name().unwrap().to_str().unwrap();
    let text = format!(
        "[engine]\nruntime = \"{name}\"\nruntime_supports_json = [\"{name}\"]\n{key} = [\"{name}\"]\n\
         [engine.runtimes]\n{name} = [\"{}\"]\n",
        paths::orlop().display()
    );
    let file = p.c.dir.join("containers.conf");
    fs::write(&file, text).unwrap();
    program(&p.c, "podman").env("CONTAINERS_CONF_OVERRIDE", file).args(args)
}

/// The command line of the container's conmon.
fn conmon(p: &Podman) -> (u64, String) {
    let pid: u64 = fs::read_to_string(p.inspect(&p.c.id, "ConmonPidFile")).unwrap().trim().parse().unwrap();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    (pid, String::from_utf8_lossy(&line).replace('\0', " "))
}

#[test]
fn configured_for_good_and_without_a_cgroup() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let name = paths::orlop().file_name().unwrap().to_str().unwrap().to_owned();
    let info = configured(&p, &["info", "--format", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}"]).go().ok();
    assert_eq!(info.text(), format!("{name} {}", paths::orlop().display()));
    let run = ["run", "-d", "--name", &p.c.id, "--network=none", "--cgroups=disabled", IMAGE, "sleep", "1000"];
    configured(&p, &run).go().ok();
    assert_eq!(p.inspect(&p.c.id, "OCIRuntime"), name);
    let (_, line) = conmon(&p);
    assert!(line.contains("--log-format=json"), "errors as JSON: {line}");
    assert!(line.contains("--cgroup-manager") && line.contains("disabled"), "{line}");
    // Nothing was made for it: it is where podman was.
    assert_eq!(p.cgroup(), cgroup_of(u64::from(std::process::id())));
    assert_eq!(configured(&p, &["exec", &p.c.id, "id", "-u"]).go().ok().text(), "0");
    configured(&p, &["rm", "--force", "--time=0", &p.c.id]).go().ok();
    // podman's manual page spells the key so; podman takes no notice of it.
    let other = configured_by(&p, "runtime_supports_nocgroups", &run).go();
    assert!(other.code() == 125 || name == "crun" && other.code() == 0, "{}", other.stderr);
    // The JSON is what the exit status is found by.
    let refused = |command: &str| configured(&p, &["run", "--rm", "--network=none", IMAGE, command]).go();
    refused("/nosuch").exits(127).says(&["o such file or directory"]);
    refused("/etc/passwd").exits(126).says(&["ermission denied"]);
}

#[test]
fn where_the_cgroups_are() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    p.start(&["--cgroups=no-conmon", "--cgroup-conf=memory.high=50000000"], &["sleep", "1000"]);
    assert!(p.cgroup().to_str().unwrap().contains("/machine.slice/libpod-"), "{}", p.cgroup().display());
    assert_eq!(
        fs::read_to_string(p.cgroup().join("memory.high")).unwrap().trim(),
        (50_000_000 / 4096 * 4096).to_string()
    );
    assert_eq!(cgroup_of(conmon(&p).0), cgroup_of(u64::from(std::process::id())), "conmon is where podman was");
    p.ok(&["rm", "--force", "--time=0", &p.c.id]);

    p.start(&["--cgroup-parent=ottest.slice"], &["sleep", "1000"]);
    assert!(p.cgroup().to_str().unwrap().contains("/ottest.slice/libpod-"), "{}", p.cgroup().display());
    p.ok(&["rm", "--force", "--time=0", &p.c.id]);

    // Both below a cgroup that podman was given.
    let scope = format!("{}-split.scope", p.c.id);
    let flags = ["--scope", "--quiet", "--collect", "--unit", &scope, "-p", "Delegate=yes", "podman", "--runtime"];
    let split = program(&p.c, "systemd-run").args(flags).arg(paths::orlop());
    let run =
        ["run", "-d", "--name", &p.c.id, "--network=none", "--cgroups=split", "--memory=64m", IMAGE, "sleep", "1000"];
    split.args(run).go().ok();
    let (inside, beside): (PathBuf, PathBuf) = (p.cgroup(), cgroup_of(conmon(&p).0));
    assert!(inside.parent().unwrap().ends_with(&scope), "{}", inside.display());
    assert_eq!(inside.parent(), beside.parent());
    assert_eq!(fs::read_to_string(inside.join("memory.max")).unwrap().trim(), "67108864");
    podman(&p.c, Manager::Systemd, &["exec", &p.c.id, "true"]).go().ok();
    p.ok(&["rm", "--force", "--time=0", &p.c.id]);
    assert!(!inside.exists(), "{}", inside.display());
}
