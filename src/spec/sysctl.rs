//! `linux.sysctl`: only what is the container's own may be set.

use std::collections::HashMap;

use super::faults::{Faults, keyed};
use super::plan::{NamespaceKind, Namespaces, Sysctl};

/// What of `/proc/sys/kernel` belongs to the IPC namespace.
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// Resolves `linux.sysctl`, sorted by key.
pub(crate) fn resolve(sysctl: &HashMap<String, String>, namespaces: &Namespaces, faults: &mut Faults) -> Vec<Sysctl> {
    let mut entries: Vec<_> = sysctl.iter().collect();
    entries.sort();
    let mut out = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let at = keyed("linux.sysctl", key);
        let path = path(key);
        match check(&path, namespaces) {
            Err(message) => faults.add(at, message),
            Ok(()) => {
                if faults.text(&at, key).is_some() && faults.text(&at, value).is_some() {
                    out.push(Sysctl { key: key.clone(), path, value: value.clone() });
                }
            }
        }
    }
    out
}

/// The path below `/proc/sys`. The first separator decides, as in sysctl(8):
/// after a dot, a slash stands for a dot in a name (`net.ipv4.conf.eth0/1.forwarding`);
/// after a slash, a dot is a dot (`net/ipv4/conf/eth0.1/forwarding`).
fn path(key: &str) -> String {
    match key.find(['.', '/']).and_then(|i| key.as_bytes().get(i)) {
        Some(b'.') => key.chars().map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        }),
        _ => return key.to_owned(),
    }
    .collect()
}

fn check(path: &str, namespaces: &Namespaces) -> Result<(), String> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("not the name of a sysctl".to_owned());
    }
    let needed = match parts.as_slice() {
        ["kernel", name] if IPC.contains(name) => NamespaceKind::Ipc,
        ["fs", "mqueue", _, ..] => NamespaceKind::Ipc,
        ["net", _, ..] => NamespaceKind::Network,
        ["kernel", "domainname"] => NamespaceKind::Uts,
        ["kernel", "hostname"] => return Err("use the field \"hostname\" instead".to_owned()),
        ["user", _, ..] => NamespaceKind::User,
        _ => return Err("belongs to no namespace, so it would change the host".to_owned()),
    };
    if namespaces.has(needed) { Ok(()) } else { Err(format!("needs a namespace of type {:?}", needed.spec_name())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &[&str], new: &[NamespaceKind]) -> (Vec<String>, String) {
        let sysctl = keys.iter().map(|k| ((*k).to_owned(), "1".to_owned())).collect();
        let namespaces = Namespaces { new: new.iter().fold(0, |f, k| f | k.clone_flag()), join: Vec::new() };
        let mut faults = Faults::default();
        let out = resolve(&sysctl, &namespaces, &mut faults);
        (out.into_iter().map(|s| s.path).collect(), faults.into_error("x").map(|e| e.to_string()).unwrap_or_default())
    }

    const ALL: [NamespaceKind; 3] = [NamespaceKind::Ipc, NamespaceKind::Network, NamespaceKind::Uts];

    #[test]
    fn keys_become_paths() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("kernel.msgmax", "kernel/msgmax"),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            ("kernel.domainname", "kernel/domainname"),
        ] {
            assert_eq!(run(&[key], &ALL), (vec![path.to_owned()], String::new()), "{key}");
        }
    }

    #[test]
    fn only_what_is_namespaced() {
        for (key, text) in [
            ("kernel.panic", "belongs to no namespace"),
            ("kernel.hostname", "use the field"),
            ("vm.swappiness", "belongs to no namespace"),
            ("user.max_user_namespaces", "needs a namespace of type \"user\""),
            ("net/../kernel/panic", "not the name"),
            ("net..ipv4", "not the name"),
            ("net", "belongs to no namespace"),
            ("/net/ipv4/x", "not the name"),
            ("", "not the name"),
        ] {
            let found = run(&[key], &ALL).1;
            assert!(found.starts_with(&format!("x: linux.sysctl[{key:?}]: {text}")), "{found}");
        }
        for key in ["kernel.sem", "net.core.somaxconn", "kernel.domainname"] {
            assert!(run(&[key], &[]).1.contains("needs a namespace of type"), "{key}");
        }
    }
}
