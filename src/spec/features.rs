//! `features`: what this runtime honours, from the tables the parser uses.

use serde_json::{Value, json};

use super::mount_options::{ID_MAP, OPTIONS};
use super::mounts::LABEL_ANNOTATION;
use super::plan::NamespaceKind;
use super::scheduling::{FLAGS, MODES};
use super::seccomp::{ACTIONS, FAIL_UNKNOWN, FLAGS as SECCOMP_FLAGS, OPERATORS, RECEIVER};
use super::validate::{CRIU_CONFIG, KEEP_GROUPS, UNIT_PROPERTY};
use super::{OCI_VERSION, hooks};
use crate::seccomp::compile::supports;
use crate::seccomp::tables::Arch;

/// The oldest version of the specification a config may have.
const OCI_VERSION_MIN: &str = "1.0.0";

fn seccomp() -> Value {
    let arches = Arch::ALL.into_iter().filter(|arch| supports(*arch));
    json!({
        "enabled": Arch::native().is_some_and(supports),
        "actions": ACTIONS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "operators": OPERATORS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "archs": arches.map(Arch::name).collect::<Vec<_>>(),
        "knownFlags": SECCOMP_FLAGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "supportedFlags": SECCOMP_FLAGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
    })
}

/// The features document (runtime-spec, features.md).
///
/// It says what is recognised, not what this kernel can do; `criu` is whether
/// there is one to save and restore containers with.
pub fn features(criu: bool) -> Value {
    let mut namespaces: Vec<_> = NamespaceKind::ALL.into_iter().map(|k| k.spec_name()).collect();
    namespaces.sort_unstable();
    let mut capabilities: Vec<_> = caps::all().into_iter().map(|c| c.to_string()).collect();
    capabilities.sort_unstable();
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": OPTIONS.iter().map(|(name, _)| *name).chain(ID_MAP).collect::<Vec<_>>(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": {"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {
                "modes": MODES.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
                "flags": FLAGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": {
            "org.orlop.version": env!("CARGO_PKG_VERSION"),
            "org.orlop.checkpoint.enabled": criu.to_string(),
        },
        "potentiallyUnsafeConfigAnnotations":
            [CRIU_CONFIG, KEEP_GROUPS, LABEL_ANNOTATION, UNIT_PROPERTY, FAIL_UNKNOWN, RECEIVER],
    })
}
