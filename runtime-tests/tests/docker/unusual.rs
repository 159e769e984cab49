//! The daemon with other settings than the walk's.

use std::fs;
use std::os::unix::fs::MetadataExt;

use runtime_tests::engines::docker::Daemon;
use runtime_tests::engines::{Manager, cgroup_of, offered};
use runtime_tests::{host, require};

use super::walk::{DAEMON, Walk, eventually, greeting};

/// cgroups that docker names itself, below one of one's choice.
#[test]
fn cgroups_without_systemd() {
    require!(host::at_length());
    require!(offered(Manager::Cgroupfs));
    let w = Walk::with(Daemon { manager: Manager::Cgroupfs, ..DAEMON });
    assert_eq!(
        w.docker(&["info", "--format", "{{.CgroupDriver}} {{.DefaultRuntime}}"]).go().ok().text(),
        "cgroupfs tested"
    );
    let id = w.start(&["--cgroup-parent=/orlop-walk"], "sleep 1000");
    let cgroup = cgroup_of(w.pid(&id));
    assert!(cgroup.ends_with(format!("orlop-walk/{id}")), "{}", cgroup.display());
    w.exec(&id, "true").ok();
    w.docker(&["pause", &id]).go().ok();
    w.docker(&["unpause", &id]).go().ok();
    if host::controller("memory").is_ok() {
        w.docker(&["update", "--memory=64m", "--memory-swap=64m", &id]).go().ok();
        assert_eq!(fs::read_to_string(cgroup.join("memory.max")).unwrap().trim(), "67108864");
        let id = w.start(&["--memory=32m", "--memory-swap=32m"], "exec tail /dev/zero");
        assert_eq!(w.wait(&id), 137);
        assert_eq!(w.inspect(&id, "{{.State.OOMKilled}}"), "true");
    }
    w.docker(&["rm", "--force", &id]).go().ok();
    // Some runtimes take an empty one above theirs away, too.
    let above = host::cgroup2().unwrap().join("orlop-walk");
    assert!(!above.exists() || fs::remove_dir(&above).is_ok(), "something is left below");
}

/// Containers are not their daemon's children.
#[test]
fn containers_outlive_the_daemon() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::with(Daemon { live_restore: true, ..DAEMON });
    let id = w.start(&["-p", "8082:5000"], "while :; do nc -l -p 5000 -e echo alive; done");
    let pid = w.pid(&id);
    w.c.program("systemctl").args(["restart", "docker"]).limit(std::time::Duration::from_secs(120)).go().ok();
    assert_eq!(w.inspect(&id, "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
    w.exec(&id, "true").ok();
    assert_eq!(eventually("its port", || greeting("127.0.0.1:8082")), "alive\n");
    w.docker(&["stop", "--time=0", &id]).go().ok();
    assert_eq!(w.inspect(&id, "{{.State.ExitCode}}"), "137");
}

/// Root inside is nobody outside, with the network, volumes and a terminal's group as usual.
#[test]
fn ids_of_a_users() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::with(Daemon { remapped: Some("tester"), ..DAEMON });
    let id = w.start(&["-v", "/data", "-p", "8083:5000"], "touch /data/x; while :; do nc -l -p 5000 -e id -u; done");
    assert_eq!(eventually("its port", || greeting("127.0.0.1:8083")), "0\n");
    let status = fs::read_to_string(format!("/proc/{}/status", w.pid(&id))).unwrap();
    assert!(status.lines().any(|l| l.starts_with("Uid:\t100000\t")), "{status}");
    let data = w.inspect(&id, "{{(index .Mounts 0).Source}}");
    assert_eq!(fs::metadata(format!("{data}/x")).unwrap().uid(), 100_000);
    assert_eq!(
        w.exec(&id, "id -u; ls -ld /etc | cut -c1-10; stat -c %u /etc /data/x /proc").ok().text(),
        "0\ndrwxr-xr-x\n0\n0\n65534"
    );
    // Into its terminals' group, and out of the namespace for one that asks.
    let (mut t, run) = w.on_terminal(w.make("run", &["--rm", "-it"], runtime_tests::engines::docker::IMAGE, &["sh"]));
    t.expect("# ");
    t.send("stat -c %g $(tty); cat /proc/self/uid_map; exit 3\n");
    let seen = t.expect("65536\r\n");
    assert!(seen.contains("\r\n5\r\n") && seen.contains("100000"), "{seen}");
    run.wait().exits(3);
    let host = w.says(&["--userns=host"], "cat /proc/self/uid_map");
    assert_eq!(host.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
    // Files of the host's stay the host's.
    let dir = w.dir("hosts");
    fs::write(dir.join("file"), "x").unwrap();
    fs::set_permissions(dir.join("file"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flag = format!("{}:/hosts", dir.display());
    w.run(&["-v", &flag], "cat /hosts/file").go().exits(1).says(&["Permission denied"]);
}
