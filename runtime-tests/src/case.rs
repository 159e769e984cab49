//! One test's bundle, state root and containers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::{Cmd, Output, wait_for};
use crate::{bundle, leaks, paths, sys};

/// One test: a bundle of its own, a `--root` of its own, and a look at the end
/// at what is left.
pub struct Case {
    /// Marks everything of this case; also the id of its first container.
    pub id: String,
    /// Scratch directory, removed at the end.
    pub dir: PathBuf,
    /// `--root`.
    pub root: PathBuf,
    /// The bundle.
    pub bundle: PathBuf,
    /// What [`Case::write`] writes as config.json.
    pub config: Value,
    /// Who calls orlop, if not root: user and group.
    pub user: Option<(u32, u32)>,
    before: Vec<String>,
}

impl Case {
    /// A case with the base config.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // The letter at the end keeps one id from being the beginning of another.
        let id = format!("ot{}n{}e", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = paths::work_dir().join(&id);
        let (root, bundle) = (dir.join("state"), dir.join("b"));
        fs::create_dir_all(&root).expect("state root");
        let before = leaks::mounts();
        bundle::make_rootfs(&bundle.join("rootfs"));
        let config = bundle::base_config(&id);
        Self { id, dir, root, bundle, config, user: None, before }
    }

    // ---- the config

    /// Sets the value at a JSON pointer (`/process/user/uid`), making objects on the way.
    pub fn set(&mut self, pointer: &str, value: impl Into<Value>) -> &mut Self {
        let mut at = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            at = match key.parse::<usize>() {
                Ok(n) if at.is_array() => &mut at[n],
                _ => &mut at[key],
            };
        }
        *at = value.into();
        self
    }

    /// Removes the member at a JSON pointer.
    pub fn unset(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = if parent.is_empty() { Some(&mut self.config) } else { self.config.pointer_mut(parent) };
        parent.and_then(Value::as_object_mut).map(|o| o.remove(key));
        self
    }

    /// Sets `process.args`.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// `process.args` is a shell script.
    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Appends to `mounts`.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        self.push("/mounts", bundle::mount(destination, kind, source, options))
    }

    /// Replaces the mount at `destination`, or takes it away (`None`).
    pub fn replace_mount(&mut self, destination: &str, with: Option<Value>) -> &mut Self {
        let mounts = self.config["mounts"].as_array_mut().expect("mounts");
        let at = mounts.iter().position(|m| m["destination"] == destination).expect("such a mount");
        match with {
            Some(mount) => mounts[at] = mount,
            None => drop(mounts.remove(at)),
        }
        self
    }

    /// Appends to the array at a JSON pointer.
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        if self.config.pointer(pointer).is_none() {
            self.set(pointer, json!([]));
        }
        self.config.pointer_mut(pointer).and_then(Value::as_array_mut).expect("an array").push(value);
        self
    }

    /// Appends a variable to `process.env`.
    pub fn env(&mut self, var: &str) -> &mut Self {
        self.push("/process/env", json!(var))
    }

    /// Sets the capabilities in bounding, effective and permitted.
    pub fn caps(&mut self, caps: &[&str]) -> &mut Self {
        self.set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
    }

    /// The usual capabilities and these.
    pub fn add_caps(&mut self, caps: &[&str]) -> &mut Self {
        let all: Vec<&str> = bundle::CAPS.iter().chain(caps).copied().collect();
        self.caps(&all)
    }

    /// Takes a namespace away.
    pub fn no_namespace(&mut self, kind: &str) -> &mut Self {
        let list = self.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.retain(|n| n["type"] != kind);
        self
    }

    /// A namespace is joined by path.
    pub fn join_namespace(&mut self, kind: &str, path: &str) -> &mut Self {
        self.no_namespace(kind);
        self.push("/linux/namespaces", json!({ "type": kind, "path": path }))
    }

    /// A path below the rootfs, on the host.
    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.bundle.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// Writes config.json.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).expect("JSON");
        fs::write(self.bundle.join("config.json"), text).expect("config.json");
    }

    /// Everything is an unprivileged user's: who calls orlop, bundle and state,
    /// and the container, in a user namespace of that one user, its root there.
    pub fn owned_by(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.user = Some((uid, gid));
        self.push("/linux/namespaces", json!({ "type": "user" }));
        let only = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        self.set("/linux/uidMappings", only(uid)).set("/linux/gidMappings", only(gid));
        // There is no group 5 for its terminals.
        let mounts = self.config["mounts"].as_array_mut().expect("mounts");
        for options in mounts.iter_mut().filter_map(|m| m["options"].as_array_mut()) {
            options.retain(|o| o != "gid=5");
        }
        give(&self.dir, uid, gid);
        self
    }

    // ---- commands

    /// Any program, marked as this case's.
    pub fn program(&self, program: &str) -> Cmd {
        let cmd = Cmd::new(program, &self.dir).env(leaks::MARK, &self.id).cwd(&self.dir);
        match self.user {
            // Without supplementary groups: who changes ids has none.
            Some((uid, gid)) => cmd.with(|c| {
                c.uid(uid).gid(gid);
            }),
            None => cmd,
        }
    }

    /// orlop without any argument.
    pub fn bare(&self) -> Cmd {
        self.program(&paths::orlop().to_string_lossy())
    }

    /// orlop with `--root` and the arguments given.
    pub fn orlop(&self, args: &[&str]) -> Cmd {
        self.bare().arg("--root").arg(&self.root).args(args)
    }

    /// `create` or `run` with the bundle; writes the config. The id goes last.
    pub fn launch(&self, verb: &str, flags: &[&str], id: &str) -> Cmd {
        self.write();
        self.orlop(&[verb, "--bundle"]).arg(&self.bundle).args(flags).arg(id)
    }

    /// `run` in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.launch("run", &[], &self.id).go()
    }

    /// `create`.
    #[track_caller]
    pub fn create(&self) -> Output {
        self.launch("create", &[], &self.id).go()
    }

    /// A command on the case's container: `start`, `pause`, …
    #[track_caller]
    pub fn verb(&self, verb: &str) -> Output {
        self.orlop(&[verb, &self.id]).go()
    }

    /// `create` and `start`, both successful.
    #[track_caller]
    pub fn start(&self) {
        self.create().ok();
        self.verb("start").ok();
    }

    /// `create` and `start`; gives the file that the program's output goes to.
    #[track_caller]
    pub fn start_with_output(&self) -> PathBuf {
        let path = self.dir.join(format!("{}.out", self.id));
        let file = fs::File::create(&path).expect("output file");
        self.launch("create", &[], &self.id).stdout(file).go().ok();
        self.verb("start").ok();
        path
    }

    /// A command on the case's container, begun.
    pub fn verb_spawned(&self, verb: &str) -> crate::command::Running {
        self.orlop(&[verb, &self.id]).spawn()
    }

    /// A container that runs until it is killed.
    #[track_caller]
    pub fn started() -> Self {
        let mut case = Self::new();
        case.args(&["/bin/sleep", "1000"]);
        case.start();
        case
    }

    /// `exec` of a command in the container.
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Cmd {
        self.orlop(&["exec"]).args(flags).arg(&self.id).args(command)
    }

    /// `kill`.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.orlop(&["kill", &self.id, signal]).go()
    }

    /// `state`, as JSON.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state").ok().json()
    }

    /// The status alone.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// The first process, as the host sees it.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().expect("a pid")).expect("a pid")
    }

    /// Waits for a status.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        wait_for(&format!("status {status}"), || (self.status() == status).then_some(()));
    }

    /// `delete --force`, which must succeed.
    #[track_caller]
    pub fn delete(&self) {
        self.orlop(&["delete", "--force", &self.id]).go().ok();
    }

    /// Runs the probe as the container's process; gives its report.
    #[track_caller]
    pub fn probe(&mut self, args: &[&str]) -> Value {
        let argv: Vec<&str> = ["/bin/probe"].into_iter().chain(args.iter().copied()).collect();
        self.args(&argv);
        self.run().ok().last_json()
    }

    /// Runs the probe by `exec`.
    #[track_caller]
    pub fn exec_probe(&self, flags: &[&str], args: &[&str]) -> Value {
        let argv: Vec<&str> = ["/bin/probe"].into_iter().chain(args.iter().copied()).collect();
        self.exec(flags, &argv).go().ok().last_json()
    }

    /// What the probe made of some operations, by name: `0` or the errno's name.
    #[track_caller]
    pub fn attempts(&mut self, operations: &[&str]) -> Value {
        let args: Vec<&str> = ["try"].into_iter().chain(operations.iter().copied()).collect();
        self.probe(&args)
    }

    // ---- what is left

    /// A directory on the host that nothing may ever appear in.
    pub fn canary(&self) -> PathBuf {
        let dir = self.dir.join("canary");
        fs::create_dir_all(&dir).expect("canary");
        dir
    }

    /// Asserts that the canary is as it was: empty and no mount point.
    #[track_caller]
    pub fn assert_canary_alone(&self) {
        let dir = self.canary();
        let inside: Vec<_> = fs::read_dir(&dir).expect("canary").flatten().map(|e| e.path()).collect();
        assert!(inside.is_empty(), "made on the host: {inside:?}");
        let mounts = leaks::new_mounts(&self.before, &self.dir);
        assert!(mounts.is_empty(), "mounted on the host: {mounts:?}");
    }

    /// Is nothing of this case left? Waits a little for what is dying.
    pub fn nothing_left(&self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            let left = leaks::find(&self.id, &self.root, &self.dir, &self.before);
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("left behind: {left:#?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that nothing of this case is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        if let Err(left) = self.nothing_left() {
            panic!("{left}");
        }
    }

    /// Takes away by force whatever is left, so that a test can go on after a fault.
    pub fn forget(&self) {
        self.delete_all();
        leaks::sweep_away(&self.id, &self.dir);
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path());
            let _ = fs::remove_file(entry.path());
        }
    }

    fn delete_all(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            // In a helper thread: a hanging delete panics, and we may be panicking already.
            let delete = self.orlop(&["delete", "--force", &id]);
            let _ = std::thread::scope(|s| s.spawn(|| delete.go()).join());
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.forget();
            remove(&self.dir);
            return;
        }
        let check = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.assert_nothing_left()));
        if let Err(leak) = check {
            self.forget();
            remove(&self.dir);
            std::panic::resume_unwind(leak);
        }
        remove(&self.dir);
    }
}

/// Gives a tree away, but for the files that cases share with each other.
pub fn give(dir: &Path, uid: u32, gid: u32) {
    sys::chown(dir, uid, gid);
    for entry in fs::read_dir(dir).expect("directory").flatten() {
        let kind = entry.file_type().expect("type");
        if kind.is_dir() {
            give(&entry.path(), uid, gid);
        } else if kind.is_file() && entry.metadata().expect("metadata").nlink() == 1 {
            sys::chown(entry.path(), uid, gid);
        }
    }
}

/// Removes the scratch directory, unless `KEEP` asks to look at it.
fn remove(dir: &Path) {
    if std::env::var_os("KEEP").is_none() {
        let _ = fs::remove_dir_all(dir);
    }
}
