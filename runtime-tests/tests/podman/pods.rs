//! Pods: containers that share namespaces, and Kubernetes' way to say them.

use std::fs;

use runtime_tests::engines::{IMAGE, Manager, cgroup_of, offered};
use runtime_tests::{Value, host, require};

use super::Podman;

fn namespaces(report: &Value) -> [&Value; 5] {
    ["net", "ipc", "uts", "pid", "mnt"].map(|kind| &report["namespaces"][kind])
}

/// A pod with two containers, from its making to its end.
fn a_pod(p: &Podman, limit: Option<&str>) {
    let (pod, one) = (format!("{}-pod", p.c.id), p.c.id.as_str());
    let limit: Vec<String> = limit.iter().map(|l| format!("--memory={l}")).collect();
    let limit: Vec<&str> = limit.iter().map(String::as_str).collect();
    let create = ["pod", "create", "--name", &pod, "--hostname=podhost", "--network=none"];
    p.ok(&[&create[..], &limit].concat());
    let member = ["run", "--log-driver=k8s-file", "--pod", &pod];
    p.ok(&[&member[..], &["-d", "--name", one, IMAGE, "probe", "trap", "15"]].concat());
    p.wait_log("ready");
    let first = p.exec(&[], &["sh", "-c", "echo shared >/dev/shm/x; exec probe report"]).go().ok().last_json();
    let second = ["--rm", IMAGE, "sh", "-c", "hostname; cat /dev/shm/x; exec probe report"];
    let out = p.ok(&[&member[..], &second].concat());
    assert!(out.stdout.starts_with("podhost\nshared\n"), "{}", out.stdout);
    let second = out.last_json();
    let (a, b) = (namespaces(&first), namespaces(&second));
    assert_eq!(a[..3], b[..3], "net, ipc, uts are the pod's");
    assert!(a[3] != b[3] && a[4] != b[4], "pid and mnt their own");
    // The pod's cgroup is around theirs.
    let around = cgroup_of(p.pid()).parent().unwrap().to_owned();
    let names = ["libpod_pod_", "/libpod_parent/"];
    assert!(names.iter().any(|name| around.to_str().unwrap().contains(name)), "{}", around.display());
    if !limit.is_empty() {
        assert_eq!(fs::read_to_string(around.join("memory.max")).unwrap().trim(), "67108864");
    }
    p.ok(&["pod", "pause", &pod]);
    assert_eq!(p.inspect(one, "State.Status"), "paused");
    p.ok(&["pod", "unpause", &pod]);
    p.ok(&["pod", "stop", &pod]);
    assert_eq!(p.inspect(one, "State.ExitCode"), "55");
    p.ok(&["pod", "rm", &pod]);
    assert_eq!(p.ok(&["ps", "--all", "--quiet"]).text(), "");
    assert!(!around.exists(), "{}", around.display());
}

#[test]
fn a_pod_with_systemd() {
    require!(offered(Manager::Systemd));
    a_pod(&Podman::new(Manager::Systemd), Some("64m"));
}

#[test]
fn a_pod_with_cgroupfs() {
    require!(host::at_length());
    require!(offered(Manager::Cgroupfs));
    a_pod(&Podman::new(Manager::Cgroupfs), None);
}

#[test]
fn a_pod_rootless() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    a_pod(&Podman::rootless(), Some("64m"));
}

/// A pod as Kubernetes writes it.
fn yaml(name: &str, dir: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  hostname: kube
  restartPolicy: Never
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 5
  securityContext:
    runAsUser: 1000
    runAsGroup: 1001
    supplementalGroups: [33]
    sysctls:
      - name: net.ipv4.ip_forward
        value: "1"
  volumes:
    - name: host
      hostPath: {{ path: "{dir}", type: Directory }}
    - name: scratch
      emptyDir: {{}}
  initContainers:
    - name: first
      image: {IMAGE}
      imagePullPolicy: Never
      securityContext: {{ runAsUser: 0 }}
      command: ["sh", "-c", "echo first >/scratch/first"]
      volumeMounts: [{{ name: scratch, mountPath: /scratch }}]
  containers:
    - name: main
      image: {IMAGE}
      imagePullPolicy: Never
      command: ["probe"]
      args: ["trap", "15"]
      env: [{{ name: A, value: b }}]
      resources: {{ limits: {{ memory: 64Mi, cpu: 500m }} }}
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {{ drop: [ALL] }}
      volumeMounts:
        - {{ name: host, mountPath: /host, readOnly: true }}
        - {{ name: scratch, mountPath: /scratch }}
    - name: other
      image: {IMAGE}
      imagePullPolicy: Never
      command: ["probe", "trap", "15"]
"#
    )
}

#[test]
fn kube_play() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let mut p = Podman::new(Manager::Systemd);
    let (file, host) = (p.c.dir.join("pod.yaml"), p.c.dir.join("host"));
    fs::create_dir(&host).unwrap();
    fs::write(host.join("f"), "of the host").unwrap();
    let pod = p.c.id.clone();
    fs::write(&file, yaml(&pod, host.to_str().unwrap())).unwrap();
    let file = file.to_str().unwrap().to_owned();
    p.ok(&["kube", "play", "--network=none", &file]);
    // Its containers have the pod's name before their own.
    p.c.id = format!("{pod}-main");
    let script = "cat /host/f; echo; cat /scratch/first; hostname; cat /proc/sys/net/ipv4/ip_forward; touch /x; \
        touch /host/x; ps | grep -c '[p]robe trap'; exec probe report";
    let out = p.exec(&[], &["sh", "-c", script]).go().ok();
    let lines: Vec<&str> = out.stdout.lines().take(5).collect();
    assert_eq!(lines, ["of the host", "first", "kube", "1", "2"], "{}{}", out.stdout, out.stderr);
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{}", out.stderr);
    let report = out.last_json();
    assert_eq!((&report["uid"][0], &report["gid"][0]), (&1000.into(), &1001.into()));
    assert!(report["groups"].as_array().unwrap().contains(&33.into()), "{}", report["groups"]);
    assert_eq!(report["caps"]["bounding"], Value::Array(Vec::new()));
    assert_eq!((&report["no_new_privs"], &report["env"]["A"]), (&true.into(), &"b".into()));
    let cgroup = p.cgroup();
    let value = |file: &str| fs::read_to_string(cgroup.join(file)).unwrap().trim().to_owned();
    assert_eq!(["memory.max", "cpu.max"].map(value), ["67108864", "50000 100000"]);
    p.ok(&["kube", "down", "--force", &file]);
    assert_eq!(p.ok(&["ps", "--all", "--quiet"]).text(), "");
    p.c.id = pod;
}
