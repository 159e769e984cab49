//! Volumes, what is mounted below them later, and file systems that are not written to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Value, host, json, require, sys};

use super::Podman;

#[test]
fn named_anonymous_and_read_only() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let named = format!("{}-volume", p.c.id);
    let host = p.c.dir.join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("f"), "of the host").unwrap();
    let binds = [
        format!("{named}:/named"),
        // What the image has there is copied into a new volume.
        "/etc".to_owned(),
        format!("{}:/bind", host.display()),
        format!("{}:/ro:ro", host.display()),
        format!("{}:/odd:noexec,nosuid,nodev", host.display()),
    ];
    let flags: Vec<&str> = binds.iter().flat_map(|b| ["-v", b]).collect();
    let volumes = || p.ok(&["volume", "ls", "--quiet"]).stdout.lines().count();
    let before = volumes();
    p.start(&flags, &["sleep", "1000"]);
    let script = "cat /bind/f; echo; echo made >/bind/made; grep -c root /etc/passwd; echo kept >/named/f; touch /ro/x";
    let out = p.exec(&[], &["sh", "-c", script]).go().exits(1).says(&["Read-only file system"]);
    assert_eq!(out.stdout, "of the host\n1\n");
    assert_eq!(fs::read_to_string(host.join("made")).unwrap(), "made\n");
    let odd = p.exec(&[], &["probe", "mountinfo", "/odd"]).go().ok().last_json()[0]["options"].clone();
    assert_eq!(odd.as_array().unwrap()[..4], [json!("rw"), json!("nosuid"), json!("nodev"), json!("noexec")]);
    // Of the two volumes the named one outlives the container.
    assert_eq!(volumes(), before + 2);
    p.ok(&["rm", "--force", "--volumes", "--time=0", &p.c.id]);
    assert_eq!(volumes(), before + 1);
    let again = p.run(&["--rm", "-v", &binds[0]], &["cat", "/named/f"]).go().ok();
    assert_eq!(again.text(), "kept");
    p.ok(&["volume", "rm", &named]);
}

/// Of each kind of propagation: do mounts of the host arrive, and do mounts of the container?
const PROPAGATION: [(&str, bool, bool); 6] = [
    ("private", false, false),
    ("rprivate", false, false),
    ("slave", true, false),
    ("rslave", true, false),
    ("shared", true, true),
    ("rshared", true, true),
];

/// Of mount(2).
const MS_SHARED: u64 = 1 << 20;

/// A mount of the host's with a directory for each kind and side; it goes with this.
struct Shared<'a>(&'a Path);

impl<'a> Shared<'a> {
    fn new(at: &'a Path) -> Self {
        fs::create_dir(at).unwrap();
        sys::mount("tmpfs", at, "tmpfs", 0, "").unwrap();
        sys::mount("none", at, "", MS_SHARED, "").unwrap();
        for (kind, ..) in PROPAGATION {
            fs::create_dir_all(at.join(kind).join("host")).unwrap();
            fs::create_dir_all(at.join(kind).join("container")).unwrap();
        }
        Self(at)
    }

    fn is_mounted(&self, kind: &str, side: &str) -> bool {
        let point = self.0.join(kind).join(side);
        fs::metadata(&point).unwrap().dev() != fs::metadata(self.0).unwrap().dev()
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        for (kind, ..) in PROPAGATION {
            for side in ["host", "container"] {
                let _ = sys::umount(self.0.join(kind).join(side));
            }
        }
        let _ = sys::umount(self.0);
    }
}

#[test]
fn mounts_made_later_arrive_where_they_may() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let at = p.c.dir.join("shared");
    let host = Shared::new(&at);
    let binds = PROPAGATION.map(|(kind, ..)| format!("{}:/{kind}:{kind}", at.join(kind).display()));
    let mut flags: Vec<&str> = binds.iter().flat_map(|b| ["-v", b]).collect();
    flags.extend(["--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined"]);
    p.start(&flags, &["sleep", "1000"]);
    for (kind, ..) in PROPAGATION {
        sys::mount("tmpfs", at.join(kind).join("host"), "tmpfs", 0, "").unwrap();
    }
    let mut script = String::new();
    for (kind, ..) in PROPAGATION {
        script += &format!(
            "grep -q ' /{kind}/host ' /proc/self/mountinfo && echo {kind}; mount -t tmpfs none /{kind}/container || exit 1\n"
        );
    }
    let seen = p.sh(&(script + "true"));
    for (kind, arrives, leaves) in PROPAGATION {
        assert_eq!(seen.lines().any(|l| l == kind), arrives, "{kind}: a mount of the host's in the container; {seen}");
        assert_eq!(host.is_mounted(kind, "container"), leaves, "{kind}: a mount of the container's on the host");
        assert!(host.is_mounted(kind, "host"));
    }
    p.ok(&["rm", "--force", "--time=0", &p.c.id]);
    drop(host);
}

#[test]
fn an_id_mapped_volume() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let host = p.c.dir.join("host");
    fs::create_dir(&host).unwrap();
    for (name, uid) in [("of-root", 0), ("of-seven", 7)] {
        fs::write(host.join(name), "").unwrap();
        sys::chown(host.join(name), uid, uid);
    }
    let (plain, mapped) = (format!("{}:/plain", host.display()), format!("{}:/mapped:idmap", host.display()));
    // Its own: id 7 of the volume is 8 inside.
    let own = format!("{}:/own:idmap=uids=7-8-1;gids=7-8-1", host.display());
    let ids = ["--uidmap=0:300000:1000", "--gidmap=0:300000:1000"];
    let script = "stat -c '%u %n' /plain/of-root /mapped/of-root /mapped/of-seven; touch /mapped/made; id -u";
    let flags = [&ids[..], &["-v", &plain, "-v", &mapped, "--rm"]].concat();
    let out = p.run(&flags, &["sh", "-c", script]).go().ok();
    assert_eq!(out.stdout, "65534 /plain/of-root\n0 /mapped/of-root\n7 /mapped/of-seven\n0\n");
    assert_eq!(fs::metadata(host.join("made")).unwrap().uid(), 0, "root's inside and outside");
    let out = p.run(&["--rm", "-v", &own], &["stat", "-c", "%u %g", "/own/of-seven"]).go().ok();
    assert_eq!(out.text(), "8 8");
}

/// What can be written to: `0`, or why not.
fn writable(p: &Podman, flags: &[&str], places: &[&str]) -> Vec<Value> {
    let tries: Vec<String> = places.iter().map(|place| format!("create:{place}/x")).collect();
    let tries: Vec<&str> = tries.iter().map(String::as_str).collect();
    let said = p.probe(flags, &[&["try"], &tries[..]].concat());
    tries.iter().map(|t| said[t].clone()).collect()
}

#[test]
fn a_read_only_container() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let places = ["", "/etc", "/tmp", "/run", "/var/tmp", "/dev/shm", "/dev"];
    let no = json!("EROFS");
    let open = writable(&p, &["--read-only"], &places);
    assert_eq!(open, [no.clone(), no.clone(), json!(0), json!(0), json!(0), json!(0), json!(0)]);
    let closed = writable(&p, &["--read-only", "--read-only-tmpfs=false"], &places);
    assert_eq!(closed[..4], [no.clone(), no.clone(), no.clone(), no.clone()]);
    assert_eq!(closed[5..], [no.clone(), no.clone()], "nor /dev");
    // One's own, with options.
    let flags = ["--read-only", "--tmpfs=/x:size=1m,mode=1770,noexec", "--tmpfs=/y:ro,size=64k"];
    let script =
        "stat -c %a /x; df -k /x | tail -n 1 | awk '{print $2}'; touch /x/f; touch /y/f; exec probe mountinfo /x /y";
    let out = p.run(&[&["--rm"], &flags[..]].concat(), &["sh", "-c", script]).go().ok();
    assert!(out.stdout.starts_with("1770\n1024\n"), "{}", out.stdout);
    assert!(out.stderr.contains("/y/f: Read-only file system") && !out.stderr.contains("/x/f"), "{}", out.stderr);
    let mounts = out.last_json();
    let at_x = mounts.as_array().unwrap().iter().find(|m| m["point"] == "/x").unwrap();
    let options = at_x["options"].as_array().unwrap();
    assert!(["nosuid", "nodev", "noexec"].iter().all(|o| options.contains(&json!(o))), "{options:?}");
}
