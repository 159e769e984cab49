//! The grammar, as engines speak it (engine-contract §1.0).

use std::ffi::OsString;
use std::path::Path;

use super::exec::Exec;
use super::globals::Context;
use super::*;

fn words(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

fn parse(name: &str, line: &[&str]) -> Result<ArgMatches> {
    find(OsStr::new(name)).unwrap().matches(words(line)).map(|m| m.expect("help was asked for"))
}

fn parse_as<V: Verb>(line: &[&str]) -> Result<V> {
    V::from_arg_matches(&parse(V::NAME, line)?).map_err(|e| scan::plain(&e))
}

fn error<V: Verb>(line: &[&str]) -> String {
    parse_as::<V>(line).err().expect("an error").to_string()
}

fn global(line: &[&str]) -> Result<(Context, Vec<OsString>)> {
    let cmd = globals::command();
    let mut scan = scan::scan(&cmd, words(line), true);
    let rest = std::mem::take(&mut scan.rest);
    scan.fault.take().map_or(Ok(()), Err)?;
    Ok((Context::new(&scan)?, rest))
}

/// Every flag of the contract's table; a value has to be given for `name=`.
const FLAGS: &[(&str, &str)] = &[
    (
        "create",
        "--bundle= -b= --pid-file= --console-socket= --pidfd-socket= --no-pivot --no-new-keyring --preserve-fds= \
         --no-subreaper -f= --config=",
    ),
    (
        "run",
        "--bundle= -b= --pid-file= --console-socket= --pidfd-socket= --no-pivot --no-new-keyring --preserve-fds= \
         --detach -d --keep --no-subreaper -f= --config=",
    ),
    (
        "exec",
        "--console-socket= --pidfd-socket= --cwd= --env= -e= --tty -t --user= -u= --additional-gids= -g= --process= \
         -p= --detach -d --pid-file= --process-label= --apparmor= --no-new-privs --cap= -c= --preserve-fds= --cgroup= \
         --ignore-paused",
    ),
    ("start", ""),
    ("state", ""),
    ("pause", ""),
    ("resume", ""),
    ("features", ""),
    ("kill", "--all -a"),
    ("delete", "--force -f"),
    ("list", "--format= -f= --quiet -q"),
    ("ps", "--format= -f="),
    (
        "update",
        "--resources= -r= --blkio-weight= --cpu-period= --cpu-quota= --cpu-burst= --cpu-share= --cpu-rt-period= \
         --cpu-rt-runtime= --cpuset-cpus= --cpuset-mems= --cpu-idle= --memory= --memory-reservation= --memory-swap= \
         --pids-limit= --l3-cache-schema= --mem-bw-schema= --kernel-memory= --kernel-memory-tcp=",
    ),
    ("events", "--stats --interval="),
    ("checkpoint", IMAGE),
    ("checkpoint", "--leave-running --pre-dump --status-fd="),
    ("restore", IMAGE),
    (
        "restore",
        "--bundle= --detach --pid-file= --no-subreaper --no-pivot --no-new-keyring --console-socket= --lsm-profile= \
         --lsm-mount-context= --tcp-close",
    ),
    ("spec", "--bundle= -b= --rootless"),
];

const IMAGE: &str = "--image-path= --work-path= --parent-path= --tcp-established --tcp-skip-in-flight --link-remap \
    --ext-unix-sk --shell-job --lazy-pages --page-server= --file-locks --manage-cgroups-mode= --empty-ns= --auto-dedup \
    --network-lock=";

#[test]
fn every_flag_of_the_contract_is_read() {
    for (name, flags) in FLAGS {
        let positionals: &[&str] = if matches!(*name, "list" | "features" | "spec") { &[] } else { &["id"] };
        for flag in flags.split_whitespace() {
            let value = match flag {
                "--page-server=" => "host:1",
                "--manage-cgroups-mode=" => "full",
                "--empty-ns=" => "network",
                "--network-lock=" => "skip",
                "-f=" if matches!(*name, "list" | "ps") => "json",
                _ if flag.contains("-format=") => "json",
                _ => "1",
            };
            let joined = format!("{flag}{value}");
            let bare = flag.trim_end_matches('=');
            let mut forms =
                if flag.ends_with('=') { vec![vec![&*joined], vec![bare, value]] } else { vec![vec![bare]] };
            let single = joined.replacen("--", "-", 1);
            if flag.starts_with("--") {
                forms.push(if flag.ends_with('=') { vec![&single] } else { vec![&bare[1..]] });
            }
            for form in forms {
                let line = [&form, positionals].concat();
                assert!(parse(name, &line).is_ok(), "{name} {line:?}: {:?}", parse(name, &line).err());
            }
        }
    }
}

#[test]
fn the_table_is_sound() {
    super::tree().debug_assert();
    // A doc comment on a command's struct would take the place of the table's text.
    let mut tree = super::tree();
    tree.build();
    let texts: Vec<_> = tree.get_subcommands().map(|c| c.get_about().unwrap().to_string()).collect();
    assert_eq!(texts, COMMANDS.iter().map(|e| e.about).collect::<Vec<_>>());
    for entry in COMMANDS {
        let cmd = entry.command();
        cmd.clone().debug_assert();
        for arg in cmd.get_arguments() {
            assert!(arg.is_positional() || arg.get_long().is_some(), "{} {arg}", entry.name);
            assert!(arg.get_help().is_some(), "{} {arg} has no help", entry.name);
        }
        assert_eq!(cmd.get_about().map(ToString::to_string).as_deref(), Some(entry.about));
    }
}

#[test]
fn flags_go_before_and_after_the_id() {
    let a = parse_as::<create::Create>(&["--bundle", "/b", "--pid-file=/p", "id"]).unwrap().shared.options();
    let b = parse_as::<create::Create>(&["id", "-b", "/b", "-pid-file", "/p"]).unwrap().shared.options();
    for o in [a, b] {
        assert_eq!(
            (o.id.as_str(), o.bundle.as_deref(), o.pid_file.as_deref()),
            ("id", Some(Path::new("/b")), Some(Path::new("/p")))
        );
    }
    assert!(parse_as::<delete::Delete>(&["id", "--force"]).unwrap().force);
    assert_eq!(parse_as::<delete::Delete>(&["--", "--force"]).unwrap().id, "--force");
}

#[test]
fn the_last_one_wins_and_booleans_take_values() {
    let o =
        parse_as::<run::Run>(&["--bundle=/a", "--detach=false", "-b", "/b", "--keep=true", "id"]).unwrap().options();
    assert_eq!((o.create.bundle.as_deref(), o.detach, o.keep), (Some(Path::new("/b")), false, true));
    assert!(!parse_as::<run::Run>(&["-d", "--detach=false", "id"]).unwrap().detach);
    assert!(parse_as::<run::Run>(&["-d=0", "-d=T", "id"]).unwrap().detach);
    assert!(parse_as::<spec::Spec>(&["--rootless=true"]).unwrap().rootless);
    assert_eq!(
        error::<run::Run>(&["--detach=maybe", "id"]).split(" (").next(),
        Some("run: invalid boolean value for --detach: \"maybe\"")
    );
    // A boolean never takes the next word.
    assert_eq!(parse_as::<run::Run>(&["--detach", "true"]).unwrap().shared.common.id, "true");
}

#[test]
fn an_empty_value_is_no_value() {
    let o = parse_as::<create::Create>(&["--console-socket=", "--pid-file", "", "--bundle=", "id"])
        .unwrap()
        .shared
        .options();
    assert_eq!((o.console_socket, o.pid_file, o.bundle), (None, None, None));
}

#[test]
fn a_missing_argument_is_named() {
    assert!(error::<create::Create>(&["id", "--bundle"]).starts_with("create: flag --bundle requires an argument"));
    assert!(error::<exec::Exec>(&["-e"]).contains("flag --env requires an argument"));
    // podman's probe for pod restore looks for these words.
    assert!(parse("restore", &["--lsm-mount-context"]).unwrap_err().to_string().contains("requires an argument"));
}

#[test]
fn the_number_of_words_is_checked() {
    assert!(error::<start::Start>(&[]).starts_with("start: missing argument: <ID>"));
    assert!(error::<start::Start>(&["a", "b"]).starts_with("start: too many arguments: \"b\""));
    assert!(error::<kill::Kill>(&["a", "9", "c"]).starts_with("kill: too many arguments: \"c\""));
    assert!(error::<list::List>(&["a"]).starts_with("list: too many arguments"));
    assert!(error::<start::Start>(&["--nope", "a"]).starts_with("start: unknown flag \"--nope\""));
    assert!(error::<exec::Exec>(&["-z", "a"]).starts_with("exec: unknown flag \"-z\""));
    assert!(
        error::<list::List>(&["-f", "xml"])
            .starts_with("list: invalid value for --format: \"xml\": has to be one of table, json")
    );
    assert!(
        error::<create::Create>(&["--preserve-fds=x", "a"])
            .starts_with("create: invalid value for --preserve-fds: \"x\": invalid digit")
    );
    for entry in COMMANDS.iter().filter(|e| !matches!(e.name, "list" | "features" | "spec")) {
        let e = entry.matches(Vec::new()).unwrap_err().to_string();
        assert!(e.contains("missing argument: <ID>") && !e.contains('\n'), "{e}");
    }
}

#[test]
fn exec_leaves_the_command_alone() {
    let o = parse_as::<Exec>(&["-t", "id", "sh", "-c", "x --tty", "--", "-d", "--help"]).unwrap().options().unwrap();
    assert_eq!(o.args, ["sh", "-c", "x --tty", "--", "-d", "--help"]);
    assert!(o.tty && !o.detach);
    let o = parse_as::<Exec>(&["--", "id", "--", "x"]).unwrap().options().unwrap();
    assert_eq!((o.id.as_str(), o.args), ("id", vec!["--".to_owned(), "x".to_owned()]));
    let o = parse_as::<Exec>(&["id", ""]).unwrap().options().unwrap();
    assert_eq!(o.args, [""]);
}

#[test]
fn exec_flags() {
    let line = [
        "-dt",
        "-e",
        "A=1,2",
        "-eB=2",
        "--env=C=3",
        "-u",
        "1000:5",
        "-g",
        "1",
        "-g=2",
        "-c",
        "CAP_KILL",
        "--cgroup",
        "cpu,cpuacct:sub",
        "--cgroup=x",
        "-cwd",
        "/w",
        "id",
        "true",
    ];
    let o = parse_as::<Exec>(&line).unwrap().options().unwrap();
    assert_eq!(o.env, ["A=1,2", "B=2", "C=3"]);
    assert_eq!(o.cgroup, ["cpu,cpuacct:sub", "x"]);
    assert_eq!((o.user, o.additional_gids, o.caps), (Some((1000, Some(5))), vec![1, 2], vec!["CAP_KILL".to_owned()]));
    assert_eq!((o.cwd.as_deref(), o.detach, o.tty), (Some("/w"), true, true));
    assert!(error::<Exec>(&["-u", "1000:", "id", "x"]).contains("not a decimal id"));
    assert!(error::<Exec>(&["-g", "staff", "id", "x"]).contains("not a decimal id"));
}

#[test]
fn exec_needs_a_command_or_a_process() {
    let text = |line: &[&str]| parse_as::<Exec>(line).unwrap().options().unwrap_err().to_string();
    assert!(text(&["id"]).starts_with("exec: no command given"));
    let o = parse_as::<Exec>(&["-p", "/f", "id"]).unwrap().options().unwrap();
    assert_eq!((o.process.as_deref(), o.args.len()), (Some(Path::new("/f")), 0));
}

#[test]
fn kill_and_ps_leave_later_words_alone() {
    let kill = parse_as::<kill::Kill>(&["--all", "id", "-9"]).unwrap();
    assert_eq!((kill.all, kill.signal.as_deref()), (true, Some("-9")));
    assert_eq!(parse_as::<kill::Kill>(&["id"]).unwrap().signal, None);
    let ps = parse_as::<ps::Ps>(&["--format", "table", "id", "-aux", "--format=x"]).unwrap();
    assert_eq!((ps.format.as_str(), ps.options), ("table", words(&["-aux", "--format=x"])));
}

#[test]
fn values_may_look_like_flags() {
    assert!(parse("update", &["--memory", "-1", "--resources", "-", "id"]).is_ok());
    assert!(parse("update", &["id", "--memory-swap=-1"]).is_ok());
}

#[test]
fn lines_of_the_engines() {
    // containerd's restore, conmon's exec, podman's checkpoint, conmon-rs' exec.
    let line = ["--image-path", "/i", "--detach", "--pid-file", "/p", "-no-subreaper", "--bundle", "/b", "id"];
    assert!(parse("restore", &line).is_ok());
    assert!(
        parse("exec", &["--pid-file", "/p", "--process", "/s", "--detach", "--console-socket", "/c", "id"]).is_ok()
    );
    assert!(parse("checkpoint", &["--empty-ns", "network", "--empty-ns", "network", "--file-locks", "id"]).is_ok());
    assert!(parse("exec", &["-d", "--console-socket=/c", "--tty", "--pid-file=/p", "id", "ls"]).is_ok());
}

#[test]
fn globals_stop_at_the_command() {
    let line = [
        "--root",
        "/r",
        "--debug",
        "--log",
        "/l",
        "-log-format=json",
        "--log-level",
        "debug",
        "--systemd-cgroup",
        "--cgroup-manager",
        "disabled",
        "--rootless=true",
        "--criu",
        "/c",
        "state",
        "--root",
        "x",
    ];
    let (ctx, rest) = global(&line).unwrap();
    assert_eq!(rest, words(&["state", "--root", "x"]));
    let rt = ctx.runtime().unwrap();
    assert_eq!((rt.root.as_path(), rt.root_given), (Path::new("/r"), true));
    assert_eq!(rt.manager, crate::container::Manager::Disabled);
    for bad in [&["--rootless=x"], &["--cgroup-manager=x"]] {
        assert!(global(bad).is_err());
    }
    assert!(global(&["--root", ""]).unwrap().0.runtime().is_err());
    assert!(global(&["--root=/"]).unwrap().0.runtime().is_err());
}

#[test]
fn who_makes_cgroups() {
    use crate::container::Manager;
    for (flags, wanted) in [
        (&["--systemd-cgroup"][..], Manager::Systemd),
        (&["--cgroup-manager=systemd"], Manager::Systemd),
        (&["--systemd-cgroup", "--cgroup-manager", "cgroupfs"], Manager::Cgroupfs),
        (&["--systemd-cgroup=false"], Manager::Cgroupfs),
        (&[], Manager::Cgroupfs),
    ] {
        let (ctx, _) = global(&[flags, &["--root=/r"]].concat()).unwrap();
        assert_eq!(ctx.runtime().unwrap().manager, wanted, "{flags:?}");
    }
}

#[test]
fn the_log_is_found_in_a_bad_line() {
    let cmd = globals::command();
    let scan = scan::scan(&cmd, words(&["--nope", "--log", "/l", "--log-format=json", "--root"]), true);
    assert_eq!(scan.value("log"), Some(OsStr::new("/l")));
    assert_eq!(scan.value("log-format"), Some(OsStr::new("json")));
    assert_eq!(scan.fault.unwrap().to_string(), "unknown flag \"--nope\"");
}

#[test]
fn exit_statuses() {
    let status = |line: &[&str]| run(words(&[&["orlop"], line].concat()));
    assert_eq!(status(&["nonsense"]), 1);
    assert_eq!(status(&[]), 1);
    assert_eq!(status(&["exec"]), 255);
    assert_eq!(status(&["--nope", "exec", "id", "x"]), 255);
    assert_eq!(status(&["--log", "/nowhere/at/all", "features"]), 1);
    // Whether there is a criu or not.
    assert_eq!(status(&["--criu", "/nowhere", "checkpoint", "--help"]), 1);
    assert_eq!(status(&["--criu", "/nowhere", "help", "checkpoint"]), 1);
    assert_eq!(status(&["--criu", "/bin/sh", "checkpoint", "--help"]), 0);
    assert_eq!(status(&["--criu", "/nowhere", "restore", "id"]), 1);
    for ok in ["--help", "--version", "-v", "-h", "help", "features"] {
        assert_eq!(status(&[ok]), 0, "{ok}");
    }
    for entry in COMMANDS.iter().filter(|e| e.name != "checkpoint") {
        assert_eq!(status(&[entry.name, "--help"]), 0);
    }
}

#[test]
fn version_lines() {
    let text = version_text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("orlop version ") && lines[1].starts_with("commit: ") && lines[2] == "spec: 1.3.0");
    assert_eq!(text.matches("version").count(), 1);
}

proptest::proptest! {
    /// Whatever the words are: options or one line of error, no panic.
    #[test]
    fn no_line_is_too_odd(line in proptest::collection::vec("(-{0,3}(b|e|d|dt|env|bundle|detach|help|h|user|memory|format|f|-)?(=|=1|=true|json)?)|\\PC{0,4}", 0..6)) {
        for entry in COMMANDS {
            if let Err(e) = entry.matches(line.iter().map(OsString::from).collect()) {
                let text = e.to_string();
                proptest::prop_assert!(!text.is_empty() && !text.contains('\n'));
            }
        }
        let _ = scan::scan(&globals::command(), line.iter().map(OsString::from), true);
    }
}

#[test]
fn durations_as_go_writes_them() {
    for (text, millis) in [
        ("5s", 5000),
        ("1m", 60_000),
        ("500ms", 500),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("0.5s", 500),
        (".5s", 500),
        ("1h0m1s", 3_601_000),
        ("2000us", 2),
        ("2000\u{b5}s", 2),
        ("3000000ns", 3),
    ] {
        assert_eq!(super::values::duration(text).unwrap().as_millis(), millis, "{text}");
    }
    for text in
        ["", "5", "s", "-5s", "5 s", "5x", "5s5", "1..5s", ".s", "0s", "0", "99999999999h", "1e3s", "nan", "infs"]
    {
        assert!(super::values::duration(text).is_err(), "{text}");
    }
}
