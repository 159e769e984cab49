//! Images that podman and buildah build: their steps are run by the runtime.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime_tests::console::Terminal;
use runtime_tests::engines::{IMAGE, Manager, offered, program};
use runtime_tests::{Cmd, host, paths, require, sys};

use super::{Podman, Who};

const CONTAINERFILE: &str = "FROM localhost/orlop-test:one
RUN echo built >/made && test $(id -u) = 0
COPY given /given
ENV A=b
WORKDIR /tmp/w
RUN --mount=type=tmpfs,target=/t touch /t/x && grep -q ' /t .* tmpfs ' /proc/self/mountinfo
RUN --mount=type=secret,id=s cat /run/secrets/s >/tmp/secret
USER 1000
RUN echo $(id -u) $A $PWD >/tmp/who
ENTRYPOINT [\"cat\", \"/made\", \"/given\", \"/tmp/secret\", \"/tmp/who\"]
";

/// A directory to build from, which a user can read as well.
fn context(containerfile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for (name, text) in [("Containerfile", containerfile), ("given", "given\n"), ("secret", "secret\n")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn builds(p: &Podman, isolation: &str) {
    let image = format!("localhost/{}:built", p.c.id);
    let build = |containerfile: &str, flags: &[&str]| {
        let dir = context(containerfile);
        let secret = format!("--secret=id=s,src={}", dir.path().join("secret").display());
        let command = ["build", "--network=none", isolation, &secret];
        p.command(&[&command[..], flags, &[dir.path().to_str().unwrap()]].concat()).go()
    };
    build(CONTAINERFILE, &["-q", "-t", &image]).ok();
    let out = p.ok(&["run", "--rm", "--network=none", &image]);
    assert_eq!(out.stdout, "built\ngiven\nsecret\n1000 b /tmp/w\n");
    p.ok(&["rmi", &image]);
    // A step that fails, and one without a program.
    build(&format!("FROM {IMAGE}\nRUN exit 3\n"), &[]).exits(3);
    build(&format!("FROM {IMAGE}\nRUN [\"/nosuch\"]\n"), &[]).exits(1).says(&["o such file or directory"]);
}

#[test]
fn podman_builds() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    builds(&Podman::new(Manager::Systemd), "--isolation=oci");
}

#[test]
fn podman_builds_rootless() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    builds(&Podman::rootless(), "--isolation=rootless");
}

fn buildah(p: &Podman, args: &[&str]) -> Cmd {
    assert!(p.who == Who::Root);
    program(&p.c, "buildah").args(args)
}

#[test]
fn buildah_runs_and_commits() {
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let name = p.c.id.as_str();
    buildah(&p, &["from", "--pull=never", "--name", name, IMAGE]).go().ok();
    let with = ["run", "--isolation=oci", "--runtime", paths::orlop().to_str().unwrap(), "--network=none"];
    let run = |flags: &[&str], command: &[&str]| buildah(&p, &[&with[..], flags, &[name, "--"], command].concat());
    assert_eq!(run(&[], &["sh", "-c", "echo out; echo kept >/kept; exit 4"]).go().exits(4).stdout, "out\n");
    run(&[], &["/nosuch"]).go().exits(1).says(&["o such file or directory"]);
    let flags = ["--user=1000:1000", "--cap-drop=all", "--env=A=b", "--hostname=here", "--workingdir=/tmp"];
    let report = run(&flags, &["probe", "report"]).go().ok().last_json();
    assert_eq!(
        (&report["uid"][0], &report["cwd"], &report["hostname"]),
        (&1000.into(), &"/tmp".into(), &"here".into())
    );
    assert_eq!((report["caps"]["bounding"].as_array().unwrap().len(), &report["env"]["A"]), (0, &"b".into()));
    assert_eq!(report["seccomp"], "2", "buildah's filter holds");
    // Two variables say the same for all of a session.
    let session = buildah(&p, &["run", "--network=none", "--volume", &format!("{}:/v:ro", p.c.dir.display()), name]);
    let session = session.env("BUILDAH_ISOLATION", "oci").env("BUILDAH_RUNTIME", paths::orlop());
    let out = session.args(["sh", "-c", "cat /kept; touch /v/x"]).go().exits(1).says(&["Read-only file system"]);
    assert_eq!(out.text(), "kept");
    // At a terminal.
    let (master, slave) = sys::open_pty();
    let mut t = Terminal::new(master);
    let run = run(&["--terminal"], &["sh", "-c", "tty; read x; echo got $x; exit 7"]).on_tty(&slave).spawn();
    t.expect("/dev/");
    t.send("word\n");
    t.expect("got word");
    run.wait().exits(7);
    let image = format!("localhost/{name}:committed");
    buildah(&p, &["commit", "-q", name, &image]).go().ok();
    buildah(&p, &["rm", name]).go().ok();
    assert_eq!(p.ok(&["run", "--rm", "--network=none", &image, "cat", "/kept"]).text(), "kept");
    p.ok(&["rmi", &image]);
}

#[test]
fn buildah_builds() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let p = Podman::new(Manager::Systemd);
    let image = format!("localhost/{}:built", p.c.id);
    let steps = "RUN --mount=type=cache,target=/c echo kept >/c/x\nRUN --mount=type=cache,target=/c cp /c/x /x\n";
    let dir = context(&format!("FROM {IMAGE}\n{steps}"));
    let flags = ["build", "-q", "--isolation=oci", "--runtime", paths::orlop().to_str().unwrap(), "--network=none"];
    buildah(&p, &[&flags[..], &["-t", &image, dir.path().to_str().unwrap()]].concat()).go().ok();
    assert_eq!(p.ok(&["run", "--rm", "--network=none", &image, "cat", "/x"]).text(), "kept");
    p.ok(&["rmi", &image]);
}
