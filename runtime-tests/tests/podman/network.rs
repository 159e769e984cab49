//! Networks that podman makes: the runtime joins what netavark has prepared.

use std::path::Path;

use runtime_tests::command::wait_for;
use runtime_tests::engines::{IMAGE, Manager, engines, offered, program, shell};
use runtime_tests::host;
use runtime_tests::require;

use super::Podman;

/// The first of them leaves mounts and a bridge that stay.
fn bridge_there() {
    let _turn = engines();
    shell(Path::new("/"), &format!("podman run --rm {IMAGE} true"));
}

#[test]
fn a_bridge_and_a_published_port() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    bridge_there();
    let p = Podman::new(Manager::Systemd);
    let serve = "echo hello from $(hostname) >/tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let flags = ["run", "-d", "--name", &p.c.id, "--hostname=server", "-p", "18080:80", IMAGE, "sh", "-c", serve];
    p.ok(&flags);
    let address = p.inspect(&p.c.id, "NetworkSettings.IPAddress");
    assert!(address.starts_with("10.88."), "{address}");
    // From the host by the port, from a second container by the address.
    let page = wait_for("the page", || {
        let got = program(&p.c, "busybox").args(["wget", "-qO-", "http://127.0.0.1:18080/"]).go();
        (got.code() == 0).then(|| got.text().to_owned())
    });
    assert_eq!(page, "hello from server");
    let url = format!("http://{address}/");
    let got = p.ok(&["run", "--rm", IMAGE, "sh", "-c", &format!("wget -qO- {url}; ip link show eth0 | wc -l")]);
    assert_eq!(got.text(), "hello from server\n2");
}
