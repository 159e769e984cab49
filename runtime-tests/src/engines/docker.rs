//! dockerd, with the configuration a test asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use serde_json::json;

use super::{Manager, rootfs, shell};
use crate::{Value, paths};

/// Made of the same root file system.
pub const IMAGE: &str = "orlop-test:one";

/// Where a test may put a runtime of its own, which `--runtime=wrapped` is.
pub const WRAPPED: &str = "/etc/docker/wrapped-runtime";

/// What BuildKit has called the runtime with, a line each.
pub const BUILDKIT_LOG: &str = "/run/orlop-test-buildkit.log";

/// What daemon.json says.
#[derive(Clone, Copy, PartialEq)]
pub struct Daemon {
    /// The cgroup driver.
    pub manager: Manager,
    /// All containers have the subordinate ids of this user.
    pub remapped: Option<&'static str>,
    /// As docker comes: with a bridge and the rules of its ports.
    pub network: bool,
    /// The runtime is the default one, and what BuildKit's steps are run with.
    pub default: bool,
    /// Containers outlive the daemon.
    pub live_restore: bool,
}

impl Daemon {
    /// The runtime as one of several, and no network.
    pub const fn new(manager: Manager) -> Self {
        Self { manager, remapped: None, network: false, default: false, live_restore: false }
    }

    /// dockerd runs with this configuration. To be called with the engines'
    /// turn, before the test's case. Gives how often it has been started.
    pub fn up(self) -> usize {
        static NOW: Mutex<(Option<Daemon>, usize)> = Mutex::new((None, 0));
        let mut now = NOW.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.0 == Some(self) {
            return now.1;
        }
        fs::create_dir_all("/etc/docker").expect("/etc/docker");
        fs::write("/etc/docker/daemon.json", self.config().to_string()).expect("daemon.json");
        self.write_unit();
        // The first containers leave mounts and cgroups of the daemon's own.
        let script = format!(
            "set -e
            systemctl daemon-reload
            systemctl restart docker
            docker image inspect {IMAGE} >/dev/null 2>&1 || tar -C rootfs -c . | docker import - {IMAGE}
            docker run --rm --network {} {IMAGE} true",
            // With remapped ids it may not be the host's.
            if self.network && self.remapped.is_none() { "host" } else { "none" }
        );
        shell(rootfs(), &script);
        *now = (Some(self), now.1 + 1);
        now.1
    }

    fn config(self) -> Value {
        let driver = if self.manager == Manager::Systemd { "systemd" } else { "cgroupfs" };
        let orlop = paths::orlop().to_string_lossy();
        let runtime = |path: &str| json!({ "path": path });
        let mut config = json!({
            "runtimes": {
                "tested": runtime(&orlop),
                "argued": { "path": orlop, "runtimeArgs": ["--debug"] },
                "wrapped": runtime(WRAPPED),
                "crun": runtime("/usr/bin/crun"),
            },
            "exec-opts": [format!("native.cgroupdriver={driver}")],
            "live-restore": self.live_restore,
        });
        if self.default {
            config["default-runtime"] = json!("tested");
        }
        if !self.network {
            config["bridge"] = json!("none");
            config["iptables"] = json!(false);
            config["ip6tables"] = json!(false);
        }
        if let Some(user) = self.remapped {
            config["userns-remap"] = json!(user);
        }
        config
    }

    /// Its service may be restarted as often as tests like.
    fn write_unit(self) {
        let dir = "/run/systemd/system/docker.service.d";
        let mut text = "[Unit]\nStartLimitIntervalSec=0\n".to_owned();
        fs::create_dir_all(dir).expect("the unit's directory");
        if self.default {
            // The runtime, but for a line in a log: nothing else tells which one ran a step.
            let path = "/etc/docker/buildkit-runtime";
            let script = format!("#!/bin/sh\necho \"$*\" >>{BUILDKIT_LOG}\nexec {} \"$@\"\n", paths::orlop().display());
            fs::write(path, script).expect("BuildKit's runtime");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
            text += &format!("[Service]\nEnvironment=DOCKER_BUILDKIT_RUNC_COMMAND={path}\n");
        }
        fs::write(format!("{dir}/orlop-test.conf"), text).expect("the unit");
    }
}
