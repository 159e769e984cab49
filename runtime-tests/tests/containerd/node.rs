//! containerd as a Kubernetes node has it, and pods on it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::{MutexGuard, OnceLock};

use runtime_tests::command::wait_for;
use runtime_tests::engines::{IMAGE, Manager, cgroup_of, engines, shell};
use runtime_tests::{Case, Value, host, json, leaks, paths};

use super::grpc::{Status, call};
use super::proto::{decode, encode};

/// What a pod's first process is of; nothing is pulled.
const PAUSE: &str = "localhost/orlop-test:pause";

/// Addresses of pods begin so.
pub const NETWORK: &str = "10.88.77.";

// ---- the numbers of CRI's enumerations

pub const POD: u32 = 0;
pub const CONTAINER: u32 = 1;
pub const NODE: u32 = 2;
pub const TARGET: u32 = 3;
pub const RUNNING: u32 = 1;
pub const EXITED: u32 = 2;

/// The name of the runtime handler (what a RuntimeClass names).
pub fn handler(manager: Manager) -> &'static str {
    if manager == Manager::Systemd { "orlop-systemd" } else { "orlop" }
}

/// The turn of a test, with containerd ready for pods; before the test's case.
pub fn turn() -> MutexGuard<'static, ()> {
    static CONFIGURED: OnceLock<()> = OnceLock::new();
    static IMAGES: OnceLock<()> = OnceLock::new();
    CONFIGURED.get_or_init(configure);
    let turn = engines();
    IMAGES.get_or_init(images);
    turn
}

/// The files of docs/engines/containerd.md, with two handlers; before containerd starts.
fn configure() {
    let runtime = |name: &str, systemd: bool| {
        let table = format!("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.{name}");
        let binary = paths::orlop().display();
        format!(
            "{table}]\nruntime_type = 'io.containerd.runc.v2'\n\
             {table}.options]\nBinaryName = '{binary}'\nSystemdCgroup = {systemd}\n"
        )
    };
    let config = format!(
        "version = 3\n\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = '{PAUSE}'\n\
         [plugins.'io.containerd.cri.v1.runtime'.containerd]\ndefault_runtime_name = 'orlop'\n{}{}",
        runtime("orlop", false),
        runtime("orlop-systemd", true)
    );
    fs::create_dir_all("/etc/containerd").expect("/etc/containerd");
    fs::write("/etc/containerd/config.toml", config).expect("config.toml");
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": format!("{NETWORK}0/24") }]] });
    let bridge = json!({ "type": "bridge", "bridge": "orlop0", "isGateway": true, "ipam": ipam });
    let list = json!({ "cniVersion": "1.0.0", "name": "orlop-test", "plugins": [bridge] });
    fs::create_dir_all("/etc/cni/net.d").expect("/etc/cni/net.d");
    fs::write("/etc/cni/net.d/10-orlop.conflist", list.to_string()).expect("10-orlop.conflist");
}

/// The image of all tests, and another one whose program waits: of one layout, in Kubernetes' namespace.
fn images() {
    let script = "set -e
        umoci config --image layout:one --tag pause --config.cmd /bin/sleep --config.cmd 2147483647
        chmod -R a+rX layout
        tar -C layout -cf pods.tar .
        ctr -n k8s.io image import --base-name localhost/orlop-test pods.tar";
    shell(&paths::work_dir().join("image"), script);
}

// ---- calls

/// A call of the runtime service.
pub fn ask(method: &str, request: &Value) -> Result<Value, Status> {
    let message = encode(&format!("{method}Request"), request);
    let answer = call("runtime.v1.RuntimeService", method, &message)?;
    Ok(decode(&format!("{method}Response"), &answer))
}

/// One that must succeed.
#[track_caller]
pub fn cri(method: &str, request: Value) -> Value {
    ask(method, &request).unwrap_or_else(|e| panic!("{method}: {e}"))
}

/// Sets the value at a JSON pointer, making objects on the way.
fn set(value: &mut Value, pointer: &str, new: Value) {
    let mut at = value;
    for key in pointer.trim_start_matches('/').split('/') {
        at = &mut at[key];
    }
    *at = new;
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

// ---- pods

/// What a pod is asked to be.
pub struct PodConfig<'c> {
    case: &'c Case,
    manager: Manager,
    config: Value,
}

/// A pod that runs; it is taken away at the end, in which nothing may be left.
pub struct Pod<'c> {
    case: &'c Case,
    manager: Manager,
    pub config: Value,
    pub id: String,
    ended: Cell<bool>,
}

impl<'c> PodConfig<'c> {
    /// As the kubelet asks for one: with a cgroup for all of it, that carries the case's id.
    pub fn new(case: &'c Case, manager: Manager) -> Self {
        let cgroup = if manager == Manager::Systemd { format!("{}.slice", case.id) } else { format!("/{}", case.id) };
        let config = json!({
            "metadata": { "name": case.id, "uid": case.id, "namespace": "orlop", "attempt": 0 },
            "hostname": "a-pod",
            "log_directory": case.dir.join("logs"),
            "linux": { "cgroup_parent": cgroup, "security_context": { "namespace_options": { "pid": CONTAINER } } },
        });
        Self { case, manager, config }
    }

    /// Sets the value at a JSON pointer.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        set(&mut self.config, pointer, value.into());
        self
    }

    /// Sets one of the options for its namespaces.
    pub fn namespace(self, name: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("/linux/security_context/namespace_options/{name}"), value)
    }

    /// In the node's network, which takes less time to make; there the kubelet gives no name.
    pub fn host_network(self) -> Self {
        self.namespace("network", NODE).set("/hostname", "")
    }

    /// RunPodSandbox.
    pub fn try_run(self) -> Result<Pod<'c>, Status> {
        let request = json!({ "config": self.config, "runtime_handler": handler(self.manager) });
        let id = text(&ask("RunPodSandbox", &request)?["pod_sandbox_id"]);
        Ok(Pod { case: self.case, manager: self.manager, config: self.config, id, ended: Cell::new(false) })
    }

    /// The same, successfully.
    #[track_caller]
    pub fn run(self) -> Pod<'c> {
        self.try_run().unwrap_or_else(|e| panic!("RunPodSandbox: {e}"))
    }
}

impl Pod<'_> {
    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Value {
        cri("PodSandboxStatus", json!({ "pod_sandbox_id": self.id }))["status"].clone()
    }

    /// The cgroup of all of it.
    pub fn cgroup(&self) -> PathBuf {
        let parent = text(&self.config["linux"]["cgroup_parent"]);
        host::cgroup2().expect("cgroups").join(parent.trim_start_matches('/'))
    }

    /// The options for its namespaces: a container is given them as well.
    fn namespaces(&self) -> Value {
        self.config["linux"]["security_context"]["namespace_options"].clone()
    }

    /// What a container of it is asked to be: it sleeps.
    pub fn container(&self, name: &str) -> ContainerConfig<'_> {
        let config = json!({
            "metadata": { "name": name },
            "image": { "image": IMAGE },
            "command": ["sleep", "1000"],
            "envs": [{ "key": leaks::MARK, "value": self.case.id }],
            "log_path": format!("{name}.log"),
            "linux": { "security_context": { "namespace_options": self.namespaces() } },
        });
        ContainerConfig { pod: self, config }
    }

    /// Stops and removes it; of what it had nothing is left but the cgroup that was the kubelet's.
    #[track_caller]
    pub fn end(self) {
        cri("StopPodSandbox", json!({ "pod_sandbox_id": self.id }));
        assert_eq!(self.status()["state"], 1, "not stopped");
        cri("RemovePodSandbox", json!({ "pod_sandbox_id": self.id }));
        self.ended.set(true);
        let pods = cri("ListPodSandbox", json!({ "filter": { "id": self.id } }));
        assert_eq!(pods["items"], json!([]));
        let containers = cri("ListContainers", json!({ "filter": { "pod_sandbox_id": self.id } }));
        assert_eq!(containers["containers"], json!([]));
        let state = format!("/run/containerd/runc/k8s.io/{}", self.id);
        assert!(!fs::exists(&state).expect("a look"), "{state} is left");
        self.remove_cgroup().unwrap_or_else(|left| panic!("in the pod's cgroup: {left}"));
    }

    /// As the kubelet does.
    fn remove_cgroup(&self) -> Result<(), String> {
        let cgroup = self.cgroup();
        if !cgroup.exists() {
            return Ok(());
        }
        let inside: Vec<_> = fs::read_dir(&cgroup).expect("the cgroup").flatten().collect();
        let inside: Vec<_> = inside.iter().filter(|e| e.path().is_dir()).map(|e| e.path()).collect();
        if self.manager == Manager::Systemd {
            shell(&self.case.dir, &format!("systemctl stop {}", self.config["linux"]["cgroup_parent"]));
        } else {
            fs::remove_dir(&cgroup).map_err(|e| format!("{e}: {inside:?}"))?;
        }
        if inside.is_empty() { Ok(()) } else { Err(format!("{inside:?}")) }
    }
}

/// After a failed test the next one is to find nothing of it.
impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if !self.ended.get() {
            let pod = json!({ "pod_sandbox_id": self.id });
            let _ = ask("StopPodSandbox", &pod);
            let _ = ask("RemovePodSandbox", &pod);
        }
    }
}

// ---- containers

/// What a container is asked to be.
pub struct ContainerConfig<'p> {
    pod: &'p Pod<'p>,
    config: Value,
}

/// A container of a pod.
pub struct Container<'p> {
    pod: &'p Pod<'p>,
    pub id: String,
    log: PathBuf,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

impl<'p> ContainerConfig<'p> {
    /// Sets the value at a JSON pointer.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        set(&mut self.config, pointer, value.into());
        self
    }

    /// What it runs.
    pub fn command(self, command: &[&str]) -> Self {
        self.set("/command", json!(command))
    }

    /// What it runs: a script.
    pub fn sh(self, script: &str) -> Self {
        self.command(&["/bin/sh", "-c", script])
    }

    /// Sets a member of its security context.
    pub fn security(self, name: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("/linux/security_context/{name}"), value)
    }

    /// Adds a volume.
    pub fn mount(mut self, mount: Value) -> Self {
        match &mut self.config["mounts"] {
            Value::Array(list) => list.push(mount),
            none => *none = json!([mount]),
        }
        self
    }

    /// CreateContainer.
    pub fn try_create(self) -> Result<Container<'p>, Status> {
        let request =
            json!({ "pod_sandbox_id": self.pod.id, "config": self.config, "sandbox_config": self.pod.config });
        let id = text(&ask("CreateContainer", &request)?["container_id"]);
        let log = self.pod.case.dir.join("logs").join(text(&self.config["log_path"]));
        Ok(Container { pod: self.pod, id, log })
    }

    /// The same, successfully.
    #[track_caller]
    pub fn create(self) -> Container<'p> {
        self.try_create().unwrap_or_else(|e| panic!("CreateContainer: {e}"))
    }

    /// CreateContainer and StartContainer.
    #[track_caller]
    pub fn start(self) -> Container<'p> {
        let container = self.create();
        container.ask("StartContainer", json!({}));
        container
    }

    /// Runs it to its end and removes it; what it said.
    #[track_caller]
    pub fn run(self) -> Said {
        let container = self.start();
        let code = container.wait()["exit_code"].as_i64().expect("a code");
        let said = Said { code, stdout: container.log("stdout"), stderr: container.log("stderr") };
        container.ask("RemoveContainer", json!({}));
        said
    }
}

impl Said {
    /// Insists on exit status 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }
}

impl Container<'_> {
    fn request(&self, mut more: Value) -> Value {
        more["container_id"] = json!(self.id);
        more
    }

    /// A call about it, that may fail.
    pub fn try_ask(&self, method: &str, more: Value) -> Result<Value, Status> {
        ask(method, &self.request(more))
    }

    /// A call about it, successful.
    #[track_caller]
    pub fn ask(&self, method: &str, more: Value) -> Value {
        cri(method, self.request(more))
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask("ContainerStatus", json!({}))["status"].clone()
    }

    /// The pid of its first process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let info = self.ask("ContainerStatus", json!({ "verbose": true }))["info"]["info"].clone();
        let info: Value = serde_json::from_str(&text(&info)).expect("JSON");
        i32::try_from(info["pid"].as_i64().expect("a pid")).expect("a pid")
    }

    /// Its cgroup.
    #[track_caller]
    pub fn cgroup(&self) -> PathBuf {
        cgroup_of(u64::try_from(self.pid()).expect("a pid"))
    }

    /// Its status once it has ended.
    #[track_caller]
    pub fn wait(&self) -> Value {
        wait_for("the container's end", || Some(self.status()).filter(|s| s["state"] == EXITED))
    }

    /// What its program wrote: the lines of its log, without what the log adds.
    #[track_caller]
    pub fn log(&self, stream: &str) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let mut said = String::new();
        for line in text.lines() {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            let [time, of, tag, rest] = parts[..] else { panic!("no line of a log: {line}") };
            assert!(time.contains('T') && ["F", "P"].contains(&tag), "no line of a log: {line}");
            if of == stream {
                said.push_str(rest);
                said.push_str(if tag == "F" { "\n" } else { "" });
            }
        }
        said
    }

    /// Waits until the log has a line.
    #[track_caller]
    pub fn wait_log(&self, line: &str) {
        wait_for(line, || self.log("stdout").lines().any(|l| l == line).then_some(()));
    }

    /// ExecSync.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Said {
        let said = self.ask("ExecSync", json!({ "cmd": command }));
        let code = said["exit_code"].as_i64().expect("a code");
        Said { code, stdout: text(&said["stdout"]), stderr: text(&said["stderr"]) }
    }

    /// ExecSync of a script that succeeds; what it wrote, without the last newline.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.exec(&["/bin/sh", "-c", script]).ok().trim_end().to_owned()
    }

    /// Stops it at once and removes it.
    #[track_caller]
    pub fn end(self) {
        self.ask("StopContainer", json!({ "timeout": 0 }));
        self.ask("RemoveContainer", json!({}));
        let all = cri("ListContainers", json!({ "filter": { "pod_sandbox_id": self.pod.id, "id": self.id } }));
        assert_eq!(all["containers"], json!([]));
    }
}
