//! `CheckpointContainer`, which the kubelet calls for its checkpoint API.

use std::fs;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Case, host, json, require};

use super::node::{PodConfig, RUNNING, turn};

/// Of a container made of that archive containerd wants to pull the image, which
/// has no registry here; `ctr` restores in the suite `engines`.
#[test]
fn a_container_is_saved_to_an_archive_and_goes_on() {
    require!(offered(Manager::Systemd));
    require!(host::criu());
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Systemd).host_network().run();
    let one = pod.container("one").sh("i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done").start();
    one.wait_log("3");
    let archive = c.dir.join("archive.tar");
    one.ask("CheckpointContainer", json!({ "location": archive, "timeout": 120 }));
    let list = c.program("tar").arg("-tf").arg(&archive).go().ok().stdout;
    for name in ["checkpoint/inventory.img", "checkpoint/descriptors.json", "spec.dump", "config.dump"] {
        assert!(list.lines().any(|line| line.trim_start_matches("./") == name), "no {name}: {list}");
    }
    assert!(fs::metadata(&archive).is_ok_and(|meta| meta.len() > 10_000));
    assert_eq!(one.status()["state"], RUNNING);
    let said = one.log("stdout").lines().count();
    one.wait_log(&(said + 2).to_string());
    one.end();
    pod.end();
}
