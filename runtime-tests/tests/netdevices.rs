//! `linux.netDevices`: network devices of the host in the container.
//!
//! "The host" is a network namespace of each test's own, in which orlop is run:
//! names can be what they like, and nothing is left on the machine.

use std::fs;
use std::process::{Command, Stdio};

use runtime_tests::case::give;
use runtime_tests::command::{Cmd, Running, wait_for};
use runtime_tests::sys::trace::{End, Harm, Who, harm_at};
use runtime_tests::{Case, Output, Value, host, json, leaks, paths, require, sys};

/// A process that holds a network namespace.
struct Net {
    holder: Option<Running>,
    pid: i32,
}

impl Net {
    fn new(c: &Case) -> Self {
        // Without the mark of what a container may not leave behind.
        let run = Cmd::new("unshare", &c.dir).args(["-n", "sh", "-c", "echo $$; exec sleep 1000"]).spawn();
        wait_for("a network namespace", || run.stdout_so_far().trim().parse::<i32>().ok());
        let pid = run.pid();
        Self { holder: Some(run), pid }
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid)
    }

    /// A program in the namespace.
    fn program(&self, c: &Case, program: &str) -> Cmd {
        c.program("nsenter").arg(format!("--net={}", self.path())).arg(program)
    }

    /// `ip` in the namespace.
    #[track_caller]
    fn ip(&self, c: &Case, args: &str) -> Output {
        ip_in(c, self.pid, args).ok()
    }

    /// A pair of virtual devices; the other one is `NAME-p`.
    #[track_caller]
    fn veth(&self, c: &Case, name: &str) {
        self.ip(c, &format!("link add name {name} type veth peer name {name}-p"));
        self.ip(c, &format!("link set {name}-p up"));
    }

    /// `create` or `run`, from this namespace.
    fn launch(&self, c: &Case, verb: &str) -> Cmd {
        c.write();
        let orlop = paths::orlop().to_string_lossy().into_owned();
        self.program(c, &orlop).arg("--root").arg(&c.root).args([verb, "--bundle"]).arg(&c.bundle).arg(&c.id)
    }

    #[track_caller]
    fn create(&self, c: &Case) -> Output {
        self.launch(c, "create").go()
    }

    #[track_caller]
    fn device(&self, c: &Case, name: &str) -> Option<Value> {
        device(c, self.pid, name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(mut run) = self.holder.take() {
            let _ = run.child.kill();
            run.wait();
        }
    }
}

fn ip_in(c: &Case, pid: i32, args: &str) -> Output {
    c.program("nsenter").arg(format!("--net=/proc/{pid}/ns/net")).arg("ip").args(args.split(' ')).go()
}

/// What a device of a process's network namespace is, without what changes by itself.
#[track_caller]
fn device(c: &Case, pid: i32, name: &str) -> Option<Value> {
    let all = ip_in(c, pid, "-j -d addr").ok().json();
    let mut found = all.as_array()?.iter().find(|device| device["ifname"] == name)?.clone();
    let fields = found.as_object_mut()?;
    let kept = ["ifname", "flags", "mtu", "address", "ifalias", "altnames", "txqlen", "addr_info"];
    fields.retain(|key, _| kept.contains(&key.as_str()));
    // The other end is noticed some time later, and then the link-local address is made.
    fields["flags"].as_array_mut()?.retain(|flag| flag != "NO-CARRIER" && flag != "LOWER_UP");
    let addresses = fields["addr_info"].as_array_mut()?;
    addresses.retain(|a| !a["local"].as_str().is_some_and(|local| local.starts_with("fe80")));
    for address in addresses.iter_mut().filter_map(Value::as_object_mut) {
        // Duplicates are looked for whenever an address comes to a link.
        address.retain(|key, _| key != "tentative" && key != "protocol");
    }
    Some(found)
}

/// The addresses of a device as `ip` shows them, each with its flags.
fn addresses(device: &Value) -> Vec<String> {
    let all = device["addr_info"].as_array().expect("addresses").iter();
    let text = |a: &Value| {
        let field = |name: &str| a[name].as_str().map(|value| format!(" {name} {value}")).unwrap_or_default();
        let flags = ["noprefixroute", "secondary", "nodad", "home", "mngtmpaddr"].iter();
        let flags: String = flags.filter(|flag| a[**flag] == true).map(|flag| format!(" {flag}")).collect();
        let metric = a["metric"].as_u64().map(|n| format!(" metric {n}")).unwrap_or_default();
        let (local, rest) = (a["local"].as_str().unwrap_or(""), [field("address"), field("broadcast"), field("label")]);
        format!("{local}/{}{}{metric}{flags}", a["prefixlen"], rest.concat())
    };
    all.map(text).collect()
}

fn is_up(device: &Value) -> bool {
    device["flags"].as_array().expect("flags").iter().any(|flag| flag == "UP")
}

/// A case that sleeps, with its own host.
fn case() -> (Case, Net) {
    let mut c = Case::new();
    c.args(&["/bin/sleep", "1000"]);
    let net = Net::new(&c);
    (c, net)
}

/// Does this machine have what these tests are done with?
fn tools() -> Result<(), String> {
    ["ip", "unshare", "nsenter"].into_iter().try_for_each(host::program)?;
    let c = Case::new();
    let net = Net::new(&c);
    match ip_in(&c, net.pid, "link add name v type veth peer name w").code() {
        0 => Ok(()),
        _ => Err("no veth devices in this kernel".to_owned()),
    }
}

#[test]
fn moved_renamed_and_up() {
    require!(tools());
    let (mut c, host) = case();
    host.veth(&c, "dev0");
    for change in ["mtu 1434", "address 02:00:00:00:12:34", "alias mine", "txqueuelen 77"] {
        host.ip(&c, &format!("link set dev0 {change}"));
    }
    host.ip(&c, "link property add dev dev0 altname a-long-alternative-name");
    host.ip(&c, "addr add 192.0.2.7/24 dev dev0");
    host.ip(&c, "addr add 2001:db8::7/64 dev dev0");
    c.set("/linux/netDevices", json!({ "dev0": { "name": "net0" } }));
    c.set("/linux/sysctl", json!({ "net.ipv4.conf.net0.forwarding": "1" }));
    host.create(&c).ok();
    assert_eq!(host.device(&c, "dev0"), None, "gone from the host");
    let inside = device(&c, c.pid(), "net0").expect("it is in the container");
    assert!(is_up(&inside), "{inside}");
    assert_eq!(inside["mtu"], 1434);
    assert_eq!(inside["address"], "02:00:00:00:12:34");
    assert_eq!((&inside["ifalias"], &inside["txqlen"]), (&json!("mine"), &json!(77)));
    assert_eq!(inside["altnames"], json!(["a-long-alternative-name"]));
    assert_eq!(addresses(&inside), ["192.0.2.7/24 label net0", "2001:db8::7/64"]);
    c.verb("start").ok();
    let out = c.exec(&[], &["/bin/sh", "-c", "ip -o addr show dev net0; cat /sys/class/net/net0/mtu"]).go().ok();
    assert!(out.stdout.contains("192.0.2.7/24") && out.stdout.contains("2001:db8::7/64"), "{}", out.stdout);
    assert!(out.stdout.ends_with("\n1434\n"), "{}", out.stdout);
    let forwarding = c.exec(&[], &["/bin/cat", "/proc/sys/net/ipv4/conf/net0/forwarding"]).go().ok();
    assert_eq!(forwarding.text(), "1", "sysctls come after the devices");
    c.delete();
    // The kernel removes a virtual device with its namespace, and with it the other end.
    wait_for("the other end to go", || host.device(&c, "dev0-p").is_none().then_some(()));
    assert_eq!(host.device(&c, "dev0"), None, "nothing is moved back");
}

#[test]
fn traffic_flows() {
    require!(tools());
    let (mut c, host) = case();
    host.veth(&c, "dev0");
    host.ip(&c, "addr add 192.0.2.1/24 dev dev0-p");
    host.ip(&c, "addr add 192.0.2.2/24 dev dev0");
    c.set("/linux/netDevices", json!({ "dev0": {} }));
    c.sh("ping -c 1 -W 5 192.0.2.1 > /dev/null && echo reached; ls /sys/class/net");
    let out = host.launch(&c, "run").go().ok();
    assert_eq!(out.text(), "reached\ndev0\nlo");
}

#[test]
fn addresses_are_what_they_were() {
    require!(tools());
    let (mut c, host) = case();
    host.veth(&c, "dev0");
    host.ip(&c, "link set dev0 up");
    for address in [
        "192.0.2.7/24 broadcast 192.0.2.200 label dev0:one",
        "192.0.2.8/24 label other",
        "198.51.100.1 peer 198.51.100.2/32 noprefixroute",
        "203.0.113.1/28 metric 55",
        "2001:db8::7/64 nodad noprefixroute",
        "2001:db8:1::1 peer 2001:db8:1::2/128",
        "2001:db8:2::1/64 preferred_lft 0",
        // These three stay behind: not permanent, not global.
        "203.0.113.100/24 valid_lft 1000 preferred_lft 500",
        "169.254.7.7/16 scope link",
        "2001:db8:3::1/64 valid_lft 1000 preferred_lft 500",
    ] {
        host.ip(&c, &format!("addr add {address} dev dev0"));
    }
    c.set("/linux/netDevices", json!({ "dev0": { "name": "n" } }));
    host.create(&c).ok();
    let inside = device(&c, c.pid(), "n").expect("it is in the container");
    let wanted = [
        "192.0.2.7/24 broadcast 192.0.2.200 label n:one",
        "198.51.100.1/32 address 198.51.100.2 label n noprefixroute",
        "203.0.113.1/28 label n metric 55",
        "192.0.2.8/24 label other secondary",
        "2001:db8:2::1/64",
        "2001:db8:1::1/128 address 2001:db8:1::2",
        "2001:db8::7/64 noprefixroute nodad",
    ];
    assert_eq!(addresses(&inside), wanted);
    let all = inside["addr_info"].as_array().unwrap();
    let worn = all.iter().find(|a| a["local"] == "2001:db8:2::1").unwrap();
    assert_eq!((&worn["preferred_life_time"], &worn["deprecated"]), (&json!(0), &json!(true)));
    let routes = ip_in(&c, c.pid(), "route show").ok().stdout;
    assert!(routes.contains("203.0.113.0/28 dev n") && routes.contains("metric 55"), "{routes}");
    assert!(!routes.contains("198.51.100"), "{routes}");
    c.delete();
}

#[test]
fn the_kernel_finds_a_number() {
    require!(tools());
    let (mut c, host) = case();
    for name in ["a", "b", "c"] {
        host.veth(&c, name);
    }
    host.ip(&c, "addr add 192.0.2.7/24 dev b");
    c.set("/linux/netDevices", json!({ "a": { "name": "net%d" }, "b": { "name": "net%d" }, "c": { "name": "net0" } }));
    // "net0" is given to "a", which comes first.
    host.create(&c).fails_with(&["linux.netDevices[\"c\"].name", "\"net0\"", "\"c\"", "is taken", "file exists"]);
    c.assert_nothing_left();
    c.set("/linux/netDevices/c/name", "x%dy");
    host.create(&c).ok();
    let inside = |name| device(&c, c.pid(), name);
    assert!(inside("net0").is_some() && inside("x0y").is_some());
    assert_eq!(addresses(&inside("net1").unwrap()), ["192.0.2.7/24 label net1"]);
    c.delete();
}

#[test]
fn names_can_be_swapped() {
    require!(tools());
    let (mut c, host) = case();
    for (name, mac) in [("one", "02:00:00:00:00:01"), ("two", "02:00:00:00:00:02")] {
        host.veth(&c, name);
        host.ip(&c, &format!("link set {name} address {mac}"));
    }
    c.set("/linux/netDevices", json!({ "one": { "name": "two" }, "two": { "name": "one" } }));
    host.create(&c).ok();
    let mac = |name| device(&c, c.pid(), name).unwrap()["address"].clone();
    assert_eq!((mac("one"), mac("two")), (json!("02:00:00:00:00:02"), json!("02:00:00:00:00:01")));
    c.delete();
}

/// Two devices with addresses, one up, one down; gives what they are.
fn two(c: &Case, host: &Net) -> [String; 2] {
    for (name, n) in [("dev0", 1), ("dev1", 2)] {
        if host.device(c, name).is_some() {
            continue;
        }
        host.veth(c, name);
        host.ip(c, &format!("link set {name} mtu 1300 address 02:00:00:00:00:0{n}"));
        for address in [
            format!("192.0.{n}.7/24 label {name}:x"),
            format!("198.51.100.{n} peer 198.51.100.9{n}/32"),
            format!("2001:db8::{n}/64 nodad"),
            format!("169.254.{n}.7/16 scope link"),
            format!("203.0.113.{n}/24 valid_lft forever preferred_lft 0"),
            format!("2001:db8:9::{n}/64 valid_lft forever preferred_lft 0"),
        ] {
            host.ip(c, &format!("addr add {address} dev {name}"));
        }
    }
    host.ip(c, "link set dev0 up");
    both(c, host)
}

/// Both, empty if they are not there.
fn both(c: &Case, host: &Net) -> [String; 2] {
    ["dev0", "dev1"].map(|name| host.device(c, name).map(|device| device.to_string()).unwrap_or_default())
}

fn two_wanted() -> Value {
    json!({ "dev0": { "name": "net0" }, "dev1": { "name": "dev0" } })
}

#[test]
fn taken_names() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    let other = Net::new(&c);
    other.ip(&c, "link add name net0 type veth peer name dev1");
    c.join_namespace("network", &other.path());
    // The first one's new name; then, when that one is there, the second one's.
    c.set("/linux/netDevices", two_wanted());
    let text = "the name \"net0\", meant for the host's \"dev0\", is taken there: file exists";
    host.create(&c).fails_with(&["linux.netDevices[\"dev0\"].name: ", text]);
    c.assert_nothing_left();
    assert_eq!(both(&c, &host), before);
    // The name it has on the way is no matter, only the one it gets.
    c.set("/linux/netDevices", json!({ "dev0": { "name": "x" }, "dev1": {} }));
    let text = "linux.netDevices[\"dev1\"]: the name \"dev1\", meant for the host's \"dev1\", is taken there";
    host.create(&c).fails_with(&[text]);
    assert_eq!(both(&c, &host), before);
    c.set("/linux/netDevices", json!({ "dev1": { "name": "x" }, "dev0": { "name": "lo" } }));
    host.create(&c).fails_with(&["linux.netDevices[\"dev0\"].name", "\"lo\""]);
    assert_eq!(both(&c, &host), before);
    let there = other.ip(&c, "-j link").json();
    assert_eq!(there.as_array().unwrap().len(), 3, "lo and the two that were there: {there}");
}

#[test]
fn devices_that_cannot_be_moved() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    c.set("/linux/netDevices", json!({ "dev0": {}, "none0": {} }));
    let text = "cannot find the network device: linux.netDevices[\"none0\"]: ";
    host.create(&c).fails_with(&[text, "no such device"]);
    assert_eq!(both(&c, &host), before);
    c.set("/linux/netDevices", json!({ "dev0": {}, "lo": { "name": "x" } }));
    let text = "cannot move the network device into the container: linux.netDevices[\"lo\"]: ";
    host.create(&c).fails_with(&[text, "invalid argument", "no loopback device can leave"]);
    assert_eq!(both(&c, &host), before);
    host.ip(&c, "link add name br0 type bridge");
    c.set("/linux/netDevices", json!({ "dev0": {}, "br0": {} }));
    host.create(&c).fails_with(&["linux.netDevices[\"br0\"]: ", "invalid argument", "some other kinds"]);
    // An alternative name that another one has.
    host.ip(&c, "link property add dev dev0 altname other-name");
    let there = Net::new(&c);
    there.veth(&c, "v");
    there.ip(&c, "link property add dev v altname other-name");
    c.join_namespace("network", &there.path());
    c.set("/linux/netDevices", json!({ "dev0": {} }));
    host.create(&c).fails_with(&["linux.netDevices[\"dev0\"]: ", "file exists", "an alternative name"]);
    c.assert_nothing_left();
    host.ip(&c, "link property del dev dev0 altname other-name");
    assert_eq!(both(&c, &host), before);
}

#[test]
fn a_create_that_fails_gives_them_back() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    assert!(before[0].contains("\"UP\"") && !before[1].contains("\"UP\""), "{before:?}");
    c.set("/linux/netDevices", two_wanted());
    let fails = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "exit 7"] }]);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        c.set("/hooks", json!({ kind: fails }));
        host.create(&c).fails_with(&[&format!("hooks.{kind}[0]"), "status 7"]);
        assert_eq!(both(&c, &host), before, "{kind}");
    }
    c.unset("/hooks").args(&["/bin/no-such-program"]);
    for verb in ["create", "run"] {
        host.launch(&c, verb).go().says(&["no-such-program"]);
        assert_eq!(both(&c, &host), before, "{verb}");
        c.assert_nothing_left();
    }
    // What is found out before they are moved does not touch them.
    c.args(&["/bin/true"]).set("/linux/netDevices/dev0/name", "a/b");
    host.create(&c).fails_with(&["linux.netDevices[\"dev0\"].name"]);
    assert_eq!(both(&c, &host), before);
}

#[test]
fn from_a_joined_namespace_as_well() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    let other = Net::new(&c);
    c.join_namespace("network", &other.path()).set("/linux/netDevices", two_wanted());
    c.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/false" }] }));
    host.create(&c).fails_with(&["hooks.createRuntime[0]"]);
    assert_eq!(both(&c, &host), before);
    c.unset("/hooks");
    host.create(&c).ok();
    assert_eq!(both(&c, &host), ["", ""]);
    assert_eq!(addresses(&other.device(&c, "dev0").unwrap())[0], "192.0.2.7/24 label dev0:x");
    c.verb("start").ok();
    c.delete();
    c.assert_nothing_left();
    // It belongs to whoever has the namespace (config-linux.md, "Namespace Lifecycle").
    assert!(other.device(&c, "net0").is_some() && other.device(&c, "dev0").is_some());
    assert_eq!(both(&c, &host), ["", ""]);
}

#[test]
fn nothing_is_taken_for_a_device_of_the_hosts() {
    require!(tools());
    let (mut c, host) = case();
    two(&c, &host);
    let other = Net::new(&c);
    c.join_namespace("network", &other.path());
    c.set("/linux/netDevices", json!({ "dev0": { "name": "net0" } }));
    // Somebody there puts one of their own in its place, alike but for the other end.
    let script = format!(
        "in='nsenter --net={} ip'
        index=$($in -o link show net0 | cut -d: -f1)
        $in link del net0 && $in link add name net0 index $index type veth peer name trap &&
        $in link set net0 mtu 1300 address 02:00:00:00:00:01 && $in link set trap up
        exit 9",
        other.path()
    );
    c.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] }));
    c.write();
    let orlop = paths::orlop().to_string_lossy().into_owned();
    let create = host.program(&c, &orlop).args(["--log-level", "warning", "--root"]).arg(&c.root);
    let out = create.args(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).go();
    out.fails_with(&["status 9", "the network device \"dev0\" is not as it was: another device was put in its place"]);
    let links = host.ip(&c, "-o link").stdout;
    assert!(!links.contains("ol-") && !links.contains("dev0"), "{links}");
    // The owner's, who may have it.
    assert!(other.device(&c, "trap").is_some());
}

#[test]
fn a_signal_gives_them_back() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    c.set("/linux/netDevices", two_wanted());
    let mark = c.dir.join("in-hook");
    let script = format!("echo > {}; exec sleep 1000", mark.display());
    for kind in ["prestart", "createContainer"] {
        c.set("/hooks", json!({ kind: [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] }));
        let create = host.launch(&c, "create").spawn();
        wait_for("the hook", || mark.exists().then_some(()));
        assert_eq!(both(&c, &host), ["", ""]);
        sys::kill(create.pid(), 15).unwrap();
        create.wait().exits(143).says(&["interrupted by SIGTERM"]);
        assert_eq!(both(&c, &host), before, "{kind}");
        c.assert_nothing_left();
        fs::remove_file(&mark).unwrap();
    }
}

#[test]
fn hooks_see_them() {
    require!(tools());
    let (mut c, host) = case();
    host.veth(&c, "dev0");
    c.set("/linux/netDevices", json!({ "dev0": { "name": "net0" } }));
    let script = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); grep -q net0: /proc/$pid/net/dev";
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let inside = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "grep -q net0: /proc/net/dev"] }]);
    c.set("/hooks", json!({ "prestart": hook, "createRuntime": hook, "createContainer": inside }));
    host.create(&c).ok();
    c.delete();
}

#[test]
fn in_a_user_namespace() {
    require!(tools());
    let (first, _) = with_users();
    first.start();
    let (mut second, host) = with_users();
    for (kind, name) in [("user", "user"), ("network", "net")] {
        second.join_namespace(kind, &format!("/proc/{}/ns/{name}", first.pid()));
    }
    for (mut c, host) in [(second, host), with_users()] {
        let before = two(&c, &host);
        c.set("/linux/netDevices", two_wanted());
        c.set("/hooks", json!({ "createRuntime": [{ "path": "/bin/false" }] }));
        host.create(&c).fails_with(&["hooks.createRuntime[0]"]);
        assert_eq!(both(&c, &host), before);
        c.unset("/hooks");
        host.create(&c).ok();
        c.verb("start").ok();
        let out = c.exec(&[], &["/bin/ip", "-o", "addr", "show", "dev", "net0"]).go().ok();
        assert!(out.stdout.contains("192.0.1.7/24") && out.stdout.contains("2001:db8::1/64"), "{}", out.stdout);
        assert_eq!(both(&c, &host), ["", ""]);
        c.delete();
    }
    first.delete();
}

/// A case with a user namespace.
fn with_users() -> (Case, Net) {
    let (mut c, host) = case();
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    c.push("/linux/namespaces", json!({ "type": "user" }));
    c.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    give(&c.rootfs("/"), 100_000, 100_000);
    (c, host)
}

#[test]
fn there_must_be_somewhere_to_go() {
    require!(tools());
    let (mut c, host) = case();
    let before = two(&c, &host);
    c.set("/linux/netDevices", json!({ "dev0": {} }));
    c.join_namespace("network", &host.path());
    let text = "invalid config: linux.netDevices: they are there already: linux.namespaces[5].path";
    host.create(&c).fails_with(&[text]);
    c.no_namespace("network").replace_mount("/sys", None);
    host.create(&c).fails_with(&["config.json: linux.netDevices: needs a network namespace"]);
    c.assert_nothing_left();
    assert_eq!(both(&c, &host), before);
    // None to be moved is no fault.
    c.set("/linux/netDevices", json!({})).args(&["/bin/true"]);
    host.launch(&c, "run").go().ok();
}

#[test]
fn kinds_of_devices() {
    require!(tools());
    let (mut c, host) = case();
    host.veth(&c, "base");
    c.args(&["/bin/true"]);
    for (kind, add) in [
        ("dummy", "link add name dev0 type dummy"),
        ("macvlan", "link add name dev0 link base type macvlan"),
        ("tap", "tuntap add dev dev0 mode tap"),
    ] {
        let added = ip_in(&c, host.pid, add);
        if added.code() != 0 {
            host::report_part("kinds_of_devices", kind, "not in this kernel");
            continue;
        }
        c.set("/linux/netDevices", json!({ "dev0": { "name": "net0" } }));
        c.sh("cat /sys/class/net/net0/flags");
        let flags = host.launch(&c, "run").go().ok();
        let flags = i64::from_str_radix(flags.text().trim_start_matches("0x"), 16).unwrap();
        assert_eq!(flags & 1, 1, "{kind} is up");
        assert_eq!(host.device(&c, "dev0"), None, "{kind}");
    }
}

/// How many calls to go forward each time.
fn step() -> usize {
    std::env::var("SWEEP").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Whichever call of `create` fails: either it succeeds all the same, or the devices are on the host
/// as before. (Or it dies of it, when it gets no memory; then the kernel decides.)
#[test]
fn whatever_fails_they_are_somewhere() {
    require!(tools());
    if cfg!(not(target_arch = "x86_64")) {
        runtime_tests::skip!("calls can only be made to fail on x86_64");
    }
    let (mut c, host) = case();
    c.set("/linux/netDevices", two_wanted());
    c.write();
    let (mut before, mut given_back, mut n) = (two(&c, &host), 0, 1);
    // Calls before the devices are touched are the general sweep's; a few find where that is.
    let stride = if step() == 1 { 16 } else { 64 };
    let mut found = false;
    loop {
        assert!(n < 5000, "create never completes");
        let (end, said) = create_harmed(&c, &host, n);
        let (End::Harmed { status, .. } | End::Completed { status }) = end;
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) == 0 {
            c.delete();
            // Of a namespace that ends the kernel removes devices when it has time.
            for name in ["dev0-p", "dev1-p"] {
                ip_in(&c, host.pid, &format!("link del {name}"));
            }
            before = two(&c, &host);
        } else {
            assert_eq!(both(&c, &host), before, "call {n}, {end:?}: {said}");
            c.assert_nothing_left();
            let seen = said.contains("network device") || said.contains("network namespace");
            given_back += usize::from(seen);
            if seen && !found {
                found = true;
                n = n.saturating_sub(stride);
            }
        }
        if matches!(end, End::Completed { .. }) {
            break;
        }
        n += if found { step() } else { stride };
    }
    assert!(given_back >= 20 / step(), "only {given_back} of {n} failing calls had to do with the devices");
}

/// `create`, whose n-th call fails; how it ended and what it said.
fn create_harmed(c: &Case, host: &Net, n: usize) -> (End, String) {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", host.path())).arg(paths::orlop()).arg("--root").arg(&c.root);
    command.args(["create", &c.id]).env(leaks::MARK, &c.id).current_dir(&c.bundle);
    let said = c.dir.join("said");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
    let end = harm_at(&mut command, Who::Parent, n, Harm::Fail(libc::EIO)).expect("ptrace");
    (end, fs::read_to_string(&said).unwrap())
}
