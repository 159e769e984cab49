//! What every introduction to docker begins with.

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{host, paths, require};

use super::walk::{DEBIAN, Walk, eventually, greeting};

#[test]
fn an_imported_debian_runs() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert!(w.debian().starts_with("sha256:"), "{}", w.debian());
    let config = w.docker(&["image", "inspect", "--format", "{{json .Config}}", DEBIAN]).go().ok().json();
    assert_eq!(config["Cmd"][0], "/bin/bash");
    // Its own bash and its own libraries, with the command and the variable of the import.
    let (reader, mut writer) = runtime_tests::sys::pipe();
    std::io::Write::write_all(
        &mut writer,
        b"echo $0 $DEBIAN_FRONTEND; . /etc/os-release; echo $ID; dpkg -l bash | tail -n 1\n",
    )
    .unwrap();
    drop(writer);
    let out = w.make("run", &["--rm", "-i"], DEBIAN, &[]).stdin(reader).go().ok().stdout;
    assert!(out.starts_with("/bin/bash noninteractive\ndebian\nii  bash"), "{out}");
}

#[test]
fn the_kernel_is_the_hosts() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let outside = w.c.program("uname").arg("-r").go().ok().stdout;
    assert_eq!(w.sees("uname -r"), outside.trim_end());
}

#[test]
fn the_hostname_begins_the_containers_id() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let name = &w.common[..12];
    assert_eq!(
        w.sees("hostname; cat /etc/hostname /proc/sys/kernel/domainname"),
        format!("{name}\n{name}\nexample.org")
    );
}

#[test]
fn its_first_process_is_number_one_and_sees_only_its_own() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.says(&[], "echo $$; cat /proc/1/comm; echo /proc/[0-9]*"), "1\nsh\n/proc/1");
}

#[test]
fn it_has_an_address_on_the_bridge() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let address = w.inspect(&w.common, "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let links = w.sees("ls /sys/class/net; ip -4 -o addr show eth0");
    assert!(links.starts_with("eth0\nlo\n") && links.contains(&format!(" {address}/16 ")), "{links}");
    let gateway = w.c.program("ip").args(["-4", "-o", "addr", "show", "docker0"]).go().ok().stdout;
    let route = w.sees("ip route");
    let via = route.split(' ').nth(2).unwrap();
    assert!(gateway.contains(&format!(" {via}/16 ")), "{route}{gateway}");
    let answer = eventually("its port", || greeting(&format!("{address}:5000")));
    assert_eq!(answer, "from inside\n");
}

/// Names are looked up at an address that rules in the container's own network namespace divert.
#[test]
fn containers_of_a_network_know_each_other_by_name() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    w.debian();
    let network = format!("{}net", w.c.id);
    w.docker(&["network", "create", &network]).go().ok();
    let id = w.start(&["--network", &network, "--name", "the-first"], "sleep 1000");
    let address = w.inspect(&id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let found = w.make("run", &["--rm", "--network", &network], DEBIAN, &["getent", "hosts", "the-first"]).go().ok();
    assert!(found.stdout.starts_with(&format!("{address} ")), "{address}: {}", found.stdout);
    // Another interface while it runs, and away again.
    w.docker(&["network", "connect", "bridge", &id]).go().ok();
    assert_eq!(w.exec(&id, "ls /sys/class/net").ok().text(), "eth0\neth1\nlo");
    w.docker(&["network", "disconnect", &network, &id]).go().ok();
    assert_eq!(w.exec(&id, "ls /sys/class/net").ok().text(), "eth1\nlo");
    w.docker(&["network", "rm", &network]).go().ok();
}

/// By no other runtime, unless it is asked for.
#[test]
fn the_runtime_is_the_default_and_can_be_named() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    assert_eq!(w.docker(&["info", "--format", "{{.DefaultRuntime}}"]).go().ok().text(), "tested");
    let (default, named) = (w.common.clone(), w.start(&["--runtime=tested"], "sleep 1000"));
    // With arguments, docker calls a script of its own.
    let argued = w.start(&["--runtime=argued"], "sleep 1000");
    let other = w.start(&["--runtime=runc"], "sleep 1000");
    for (id, name) in [(&default, "tested"), (&named, "tested"), (&argued, "argued"), (&other, "runc")] {
        assert_eq!(w.inspect(id, "{{.HostConfig.Runtime}}"), name);
    }
    let list =
        w.c.bare().args(["--root", "/run/docker/runtime-runc/moby", "list", "--format", "json"]).go().ok().json();
    let known: Vec<&str> = list.as_array().expect("containers").iter().filter_map(|c| c["id"].as_str()).collect();
    let known = |id: &String| known.contains(&id.as_str());
    assert!(known(&default) && known(&named) && known(&argued), "{list}");
    // Whose state is written by another program is not ours to list.
    let same = paths::orlop().ends_with("runc");
    assert_eq!(known(&other), same, "{list}");
}

#[test]
fn a_published_port_is_reached_from_the_host() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let answer = eventually("the published port", || greeting("127.0.0.1:8090"));
    assert_eq!(answer, "from inside\n");
    assert!(w.docker(&["port", &w.common]).go().ok().stdout.starts_with("5000/tcp -> 0.0.0.0:8090\n"));
}

/// Files of docker's own are mounted over those of the image.
#[test]
fn hosts_and_resolver_are_dockers() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let seen = w.sees("cat /etc/hosts /etc/resolv.conf; cut -d' ' -f2 /proc/self/mounts");
    let lines = ["192.0.2.7\tsome.host", "nameserver 192.0.2.53", "search example.org"];
    for line in lines.into_iter().chain(["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"]) {
        assert!(seen.lines().any(|l| l == line), "{line}: {seen}");
    }
}
