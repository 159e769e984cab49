//! A user's own systemd.

use std::fs;
use std::path::{Path, PathBuf};

use runtime_tests::command::wait_for;
use runtime_tests::json;

use super::{case, systemd};

/// A user whose systemd runs without a login, and its runtime directory.
fn lingering_user() -> Result<(String, PathBuf), String> {
    systemd()?;
    let mut names = fs::read_dir("/var/lib/systemd/linger").map_err(|_| "no lingering user")?.flatten();
    let name = names.next().ok_or("no lingering user")?.file_name().to_string_lossy().into_owned();
    let passwd = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let line = passwd.lines().find(|l| l.starts_with(&format!("{name}:"))).ok_or("not in /etc/passwd")?;
    let run = Path::new("/run/user").join(line.split(':').nth(2).ok_or("no uid")?);
    Ok((name, run))
}

/// Root of a user namespace, as podman without privileges is: the unit is one
/// of the user's systemd, below its cgroup, and later verbs find it without
/// being told where.
#[test]
fn below_the_users_own_systemd() {
    let (user, run) = match lingering_user() {
        Ok(found) => found,
        Err(why) => runtime_tests::skip!("{why}"),
    };
    let (mut c, unit) = case();
    // Not below the checkout, which the user may not be able to reach.
    let dir = PathBuf::from(format!("/tmp/{}", c.id));
    fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
    fs::copy(c.rootfs("/bin/busybox"), dir.join("rootfs/bin/sleep")).unwrap();
    fs::copy(runtime_tests::paths::orlop(), dir.join("orlop")).unwrap();
    c.unset("/mounts").unset("/hostname").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    c.no_namespace("network").no_namespace("cgroup");
    c.set("/linux/cgroupsPath", format!("user.slice:ot:{}", c.id)).args(&["/bin/sleep", "1000"]);
    c.set("/linux/resources", json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 } }));
    fs::write(dir.join("config.json"), c.config.to_string()).unwrap();
    let script = format!(
        "cd {dir}; orlop=\"./orlop --root {dir}/state\"; unset DBUS_SESSION_BUS_ADDRESS
        $orlop --systemd-cgroup create -b . {id} >log 2>&1 || cat log
        pid=$($orlop state {id} | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p')
        cat /proc/$pid/cgroup
        systemctl --user show -p MemoryMax,TasksMax {unit}
        cat /sys/fs/cgroup$(cut -d: -f3 /proc/$pid/cgroup)/pids.max
        XDG_RUNTIME_DIR= $orlop update --pids-limit 44 {id}
        systemctl --user show -p TasksMax {unit}
        XDG_RUNTIME_DIR= $orlop delete --force {id}
        systemctl --user show -p LoadState {unit}",
        dir = dir.display(),
        id = c.id,
    );
    let xdg = format!("XDG_RUNTIME_DIR={}", run.display());
    let as_user = |command: &[&str]| c.program("runuser").args(["-u", &user, "--", "env", &xdg]).args(command).go();
    c.program("chown").args(["-R", &user]).arg(&dir).go().ok();
    wait_for("the user's systemd", || {
        as_user(&["systemctl", "--user", "is-system-running"]).status.success().then_some(())
    });
    // Begun by the user's systemd, so that the process may be moved within its cgroup.
    let begin = ["systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect", "--setenv", &xdg];
    let said = as_user(&[&begin[..], &["unshare", "-Urm", "sh", "-c", &script]].concat()).ok();
    let uid = run.file_name().unwrap().to_string_lossy();
    let place = format!("0::/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/{unit}");
    let mut lines = said.text().lines().collect::<Vec<_>>();
    // systemctl has an order of its own.
    lines[1..3].sort_unstable();
    let wanted = [place.as_str(), "MemoryMax=67108864", "TasksMax=33", "33", "TasksMax=44", "LoadState=not-found"];
    assert_eq!(lines, wanted, "{}", said.stderr);
    fs::remove_dir_all(dir).unwrap();
}
