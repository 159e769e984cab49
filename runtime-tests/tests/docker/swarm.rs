//! One node's swarm: services whose tasks are containers of the default runtime.

use runtime_tests::engines::docker::IMAGE;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Value, host, require};

use super::walk::{Walk, eventually, greeting};

/// A swarm of one, left at the end.
struct Swarm {
    w: Walk,
}

impl Swarm {
    fn begun() -> Self {
        let w = Walk::new();
        // An earlier test that failed may have left its own.
        w.docker(&["swarm", "leave", "--force"]).go();
        w.docker(&["swarm", "init", "--advertise-addr=127.0.0.1"]).go().ok();
        Self { w }
    }

    /// A service; its tasks run a script.
    fn create(&self, name: &str, flags: &[&str], script: &str) {
        let create = self.w.docker(&["service", "create", "--detach", "--no-resolve-image", "--stop-grace-period=1s"]);
        create.args(["--name", name]).args(flags).args([IMAGE, "sh", "-c", script]).go().ok();
    }

    /// The containers of a service's tasks that run, with what docker says of them.
    fn running(&self, name: &str) -> Vec<Value> {
        let filter = format!("label=com.docker.swarm.service.name={name}");
        let ids = self.w.docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter]).go().ok().stdout;
        let ids: Vec<&str> = ids.lines().collect();
        if ids.is_empty() {
            return Vec::new();
        }
        // One may end between the two.
        let all = self.w.docker(&["inspect"]).args(&ids).go();
        let all: Vec<Value> = serde_json::from_str(&all.stdout).unwrap_or_default();
        all.into_iter().filter(|c| c["State"]["Running"] == true).collect()
    }

    /// Waits until so many tasks run, all of them with this word in their command.
    #[track_caller]
    fn wait(&self, name: &str, count: usize, word: &str) -> Vec<Value> {
        eventually(&format!("{count} tasks of {name} with {word}"), || {
            let all = self.running(name);
            let right = all.iter().all(|c| c["Config"]["Cmd"].to_string().contains(word));
            (all.len() == count && right).then_some(all)
        })
    }

    fn end(self) {
        let w = &self.w;
        w.docker(&["swarm", "leave", "--force"]).go().ok();
        assert_eq!(w.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).go().ok().text(), "inactive");
        let filter = "label=com.docker.swarm.service.name";
        eventually("the end of all tasks", || {
            w.docker(&["ps", "--all", "--quiet", "--filter", filter]).go().ok().stdout.is_empty().then_some(())
        });
    }
}

impl Drop for Swarm {
    /// After a failure its tasks are not to be in the way of other tests.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let leave = self.w.docker(&["swarm", "leave", "--force"]);
            let _ = std::thread::scope(|s| s.spawn(|| leave.go()).join());
        }
    }
}

fn ids(tasks: &[Value]) -> Vec<&str> {
    tasks.iter().map(|c| c["Id"].as_str().expect("an id")).collect()
}

/// Another name of the image: what a service is updated to.
const OTHER: &str = "orlop-test:two";

/// Another image and another command: every task is replaced.
fn roll(s: &Swarm, before: &[Value]) -> Vec<Value> {
    s.w.docker(&["tag", IMAGE, OTHER]).go().ok();
    let update = s.w.docker(&["service", "update", "--detach", "--no-resolve-image", "--image", OTHER]);
    update.args(["--args", "sh -c 'trap exit TERM; : second; sleep 1000 & wait'", "web"]).go().ok();
    let after = s.wait("web", before.len(), "second");
    assert!(ids(before).iter().all(|id| !ids(&after).contains(id)), "all are new");
    assert!(after.iter().all(|task| task["Config"]["Image"] == OTHER), "of the new image");
    after
}

/// One that is killed is replaced, and only that.
fn heal(s: &Swarm, before: &[Value]) {
    let victim = ids(before)[0].to_owned();
    s.w.docker(&["kill", &victim]).go().ok();
    let after = eventually("another task", || {
        let all = s.running("web");
        (all.len() == before.len() && !ids(&all).contains(&victim.as_str())).then_some(all)
    });
    assert_eq!(ids(&after).iter().filter(|id| ids(before).contains(id)).count(), before.len() - 1);
}

#[test]
fn a_service_is_scaled_rolled_healed_and_removed() {
    require!(offered(Manager::Systemd));
    let s = Swarm::begun();
    s.create(
        "web",
        &[
            "--replicas=2",
            "--update-parallelism=2",
            "--update-monitor=100ms",
            "--restart-delay=100ms",
            "--limit-pids=20",
        ],
        "trap exit TERM; : first; sleep 1000 & wait",
    );
    let tasks = s.wait("web", 2, "first");
    for task in &tasks {
        assert_eq!(task["HostConfig"]["Runtime"], "tested");
        if host::controller("pids").is_ok() {
            assert_eq!(task["HostConfig"]["PidsLimit"], 20);
        }
    }
    s.w.docker(&["service", "scale", "--detach", "web=4"]).go().ok();
    let four = s.wait("web", 4, "first");
    assert!(ids(&tasks).iter().all(|id| ids(&four).contains(id)), "those that ran went on");

    let rolled = roll(&s, &four);
    heal(&s, &rolled);
    s.w.docker(&["service", "scale", "--detach", "web=1"]).go().ok();
    s.wait("web", 1, "second");
    s.w.docker(&["service", "rm", "web"]).go().ok();
    s.wait("web", 0, "");
    s.w.docker(&["image", "rm", OTHER]).go().ok();
    s.end();
}

/// What swarm gives a task: a network over nodes, secrets and configs; and a port of the node's.
#[test]
fn a_service_with_a_port_a_secret_and_a_network() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let s = Swarm::begun();
    let give = |kind: &str, name: &str, what: &str| {
        let (reader, mut writer) = runtime_tests::sys::pipe();
        std::io::Write::write_all(&mut writer, what.as_bytes()).unwrap();
        drop(writer);
        s.w.docker(&[kind, "create", name, "-"]).stdin(reader).go().ok();
    };
    give("secret", "word", "a secret\n");
    give("config", "setting", "a setting\n");
    s.w.docker(&["network", "create", "--driver=overlay", "--attachable", "inner"]).go().ok();
    let flags = [
        "--publish=mode=host,published=8081,target=5000",
        "--secret=word",
        "--config=source=setting,target=/setting",
        "--network=inner",
        "--hostname=the-task",
    ];
    s.create("port", &flags, "while :; do nc -l -p 5000 -e cat /setting; done");
    let task = s.wait("port", 1, "nc");
    let id = ids(&task)[0];
    let seen =
        s.w.exec(id, "cat /run/secrets/word /setting; hostname; grep -c ' /run/secrets/word ' /proc/self/mounts").ok();
    assert_eq!(seen.text(), "a secret\na setting\nthe-task\n1");
    let links = s.w.exec(id, "ls /sys/class/net").ok();
    assert_eq!(links.text(), "eth0\neth1\nlo");
    let answer = eventually("its port", || greeting("127.0.0.1:8081"));
    assert_eq!(answer, "a setting\n");
    s.w.docker(&["service", "rm", "port"]).go().ok();
    s.wait("port", 0, "");
    s.end();
}
