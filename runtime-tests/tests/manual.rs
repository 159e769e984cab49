//! `docs/manual.md`, followed at a terminal from its first line to the last.
//!
//! Every line of its shell blocks is typed as it stands there, in a shell of its
//! own whose `/tmp` and `/run/orlop` nobody else has, and has to succeed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime_tests::command::{Running, wait_for};
use runtime_tests::console::Terminal;
use runtime_tests::host::Tester;
use runtime_tests::{Case, Value, host, json, paths, sys};

/// What a shell says when it waits for the next line, after the status of the last.
const READY: &str = "] ready> ";
/// Where orlop is, and its example of a config.
const OURS: &str = "/run/orlop-manual";
/// How busybox's shell ends what it says in a container: `/ # `, or `~ # `.
const INSIDE: &str = " # ";

/// The manual's text between a heading and the next.
struct Chapter(String);

impl Chapter {
    fn of(title: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manual.md");
        let text = fs::read_to_string(path).expect("the manual");
        let begin = text.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no chapter {title:?}"));
        let rest = &text[begin + 1..];
        Self(rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned())
    }

    fn blocks(&self, language: &str) -> Vec<&str> {
        let begin = format!("```{language}\n");
        let parts = self.0.split(begin.as_str()).skip(1);
        parts.map(|part| &part[..part.find("```\n").expect("the end of a block")]).collect()
    }

    /// The lines of its shell blocks.
    fn lines(&self) -> Vec<&str> {
        self.blocks("sh").into_iter().flat_map(str::lines).collect()
    }

    /// Its nth block of JSON, which has members of an object.
    fn members(&self, n: usize) -> Value {
        serde_json::from_str(&format!("{{{}}}", self.blocks("json")[n])).expect("JSON")
    }

    /// A line of its table, by how it begins: what orlop says, up to what differs.
    fn line_met(&self, begin: &str) -> String {
        let row = self.0.lines().find_map(|row| row.strip_prefix("| `")?.starts_with(begin).then(|| &row[3..]));
        let line = row.unwrap_or_else(|| panic!("no {begin:?} in the table")).split('`').next().unwrap_or_default();
        line.split(['…', '(']).next().unwrap_or_default().trim_end().to_owned()
    }
}

/// Somebody who has the manual and a terminal.
struct Reader {
    terminal: Terminal,
    shell: Running,
    bundle: PathBuf,
    /// Where it finds orlop.
    path: String,
    /// What the last `orlop state` said.
    pid: String,
}

impl Reader {
    fn new(c: &Case) -> Self {
        let path = format!("{OURS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let (master, slave) = sys::open_pty();
        let shell =
            c.program("unshare").args(["--mount", "--propagation", "private", "bash", "--norc", "--noediting", "-i"]);
        let shell = shell.env("PATH", &path).env("TERM", "dumb").on_tty(&slave).spawn();
        let mut reader = Self {
            terminal: Terminal::new(master).patient(Duration::from_secs(60)),
            shell,
            bundle: PathBuf::from("/tmp/first"),
            path,
            pid: String::new(),
        };
        reader.prompt();
        // What is needed of the checkout, which may itself be below /tmp.
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.example.json");
        reader.types(&format!("mkdir -p {OURS} /run/orlop && mount -t tmpfs tmpfs {OURS}"));
        reader.types(&format!("cp {} {OURS}/orlop && cp {} {OURS}", paths::orlop().display(), example.display()));
        reader.types("mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /run/orlop");
        reader
    }

    /// A prompt that can be told from what it is typed with.
    fn prompt(&mut self) {
        self.terminal.send("PS1='[$?] rea''dy> '\n");
        self.terminal.expect(READY);
    }

    /// Types a line that succeeds.
    #[track_caller]
    fn types(&mut self, line: &str) -> String {
        let (status, seen) = self.tries(line);
        assert_eq!(status, 0, "{line}\n{seen}");
        seen
    }

    /// Types a line; its status, and what was seen after it.
    #[track_caller]
    fn tries(&mut self, line: &str) -> (u8, String) {
        self.terminal.send(&format!("{line}\n"));
        self.status(line)
    }

    #[track_caller]
    fn status(&mut self, line: &str) -> (u8, String) {
        let seen = self.terminal.expect(READY).replace('\r', "");
        let seen = seen.trim_end_matches(READY);
        let (output, status) = seen.rsplit_once('[').unwrap_or_else(|| panic!("{line}: {seen}"));
        let output = output.strip_prefix(&format!("{line}\n")).unwrap_or(output);
        (status.parse().unwrap_or_else(|_| panic!("{line}: {seen}")), output.to_owned())
    }

    /// Types a line that leads into a container, and others there; gives what is seen.
    #[track_caller]
    fn visits(&mut self, line: &str, lines: &[&str]) -> String {
        self.terminal.send(&format!("{line}\n"));
        self.terminal.expect(INSIDE);
        let mut seen = String::new();
        for inside in lines {
            self.terminal.send(&format!("{inside}\n"));
            seen += &self.terminal.expect(INSIDE);
        }
        self.terminal.send("exit\n");
        let (status, rest) = self.status(line);
        assert_eq!(status, 0, "{line}\n{seen}{rest}");
        seen
    }

    /// Does what a line of the manual says.
    #[track_caller]
    fn follows(&mut self, line: &str) {
        let command = line.split(" #").next().unwrap_or_default().trim_end();
        if ["orlop run first", "orlop exec -t first sh"].contains(&command) {
            let name = self.visits(command, &["hostname"]);
            assert!(name.contains("\norlop\r\n"), "{line}: {name}");
            return;
        }
        let meant = line.replace('…', OURS).replace("PID", &self.pid);
        if command.starts_with("orlop delete") && !command.contains("--force") {
            let stopped = |r: &mut Self| r.types("orlop state first").contains("\"stopped\"").then_some(());
            wait_for("its end", || stopped(self));
        }
        let seen = self.types(&meant);
        let comment = line.split("# ").nth(1).unwrap_or_default();
        if comment.starts_with('"') || comment.bytes().all(|b| b.is_ascii_digit()) {
            let said = comment.split(',').next().unwrap_or_default();
            assert!(seen.contains(said), "{line}\n{seen}");
        }
        if let Some(pid) = seen.lines().find_map(|line| line.trim().strip_prefix("\"pid\": ")) {
            self.pid = pid.trim_end_matches(',').to_owned();
        }
    }

    fn follows_all(&mut self, chapter: &Chapter) {
        chapter.lines().into_iter().for_each(|line| self.follows(line));
    }

    /// Edits config.json.
    fn edits(&self, change: impl FnOnce(&mut Value)) {
        let root = format!("/proc/{}/root{}/config.json", self.shell.pid(), self.bundle.display());
        let mut config = serde_json::from_slice(&fs::read(&root).expect("config.json")).expect("JSON");
        change(&mut config);
        fs::write(&root, config.to_string()).expect("config.json");
    }
}

impl Drop for Reader {
    /// After a failure, a container whose state nobody else can see.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let pid = self.shell.pid().to_string();
            for id in ["first", "example"] {
                let delete = ["--target", &pid, "--mount", "orlop", "delete", "--force", id];
                let _ = std::process::Command::new("nsenter").args(delete).env("PATH", &self.path).status();
            }
        }
    }
}

fn in_the_background(config: &mut Value) {
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sleep", "1000"]);
}

#[test]
fn from_the_first_line_to_the_last() {
    let c = Case::new();
    let mut r = Reader::new(&c);
    let first = Chapter::of("A first container by hand");
    r.follows_all(&first);

    r.edits(in_the_background);
    r.follows_all(&Chapter::of("One step at a time"));

    match host::vm().and_then(|()| host::tester()) {
        Ok(user) => without_root(&mut r, &first, &user),
        Err(why) => host::report_part("manual", "without root", &why),
    }
    match ["memory", "pids", "cpu"].iter().try_for_each(|name| host::controller(name)) {
        Ok(()) => limits(&mut r),
        Err(why) => host::report_part("manual", "limits", &why),
    }
    match host::criu() {
        Ok(()) => {
            let args = json!(["sh", "-c", "while :; do sleep 1; done"]);
            r.edits(|config| config["process"]["args"] = args);
            r.follows_all(&Chapter::of("Saving and bringing back"));
            r.edits(in_the_background);
        }
        Err(why) => host::report_part("manual", "saving and bringing back", &why),
    }
    will_not_start(&mut r);
    r.follows_all(&Chapter::of("The config, field by field"));
    assert_eq!(r.types("orlop list -q"), "");
    r.terminal.send("exit\n");
    assert!(r.shell.child.wait().expect("the shell").success());
    fs::remove_dir(OURS).expect(OURS);
}

// ---- without root

fn without_root(r: &mut Reader, first: &Chapter, user: &Tester) {
    let chapter = Chapter::of("Without root");
    let shell = "env -i PATH=\"$PATH\" HOME=/tmp/mine TERM=dumb bash --norc --noediting -i";
    r.terminal.send(&format!("setpriv --reuid=tester --regid=tester --init-groups {shell}\n"));
    r.terminal.expect("$ ");
    r.prompt();
    r.bundle = PathBuf::from("/tmp/mine");
    for line in first.lines().into_iter().take_while(|line| !line.starts_with("orlop")) {
        r.follows(&line.replace("/tmp/first", "/tmp/mine"));
    }
    r.follows_all(&chapter);

    let ranges = chapter.members(0);
    assert_eq!(ranges["uidMappings"][1]["hostID"], 100_000, "the line in the text");
    let mappings = |own: u32| {
        let mut mappings = ranges["uidMappings"].clone();
        mappings[0]["hostID"] = json!(own);
        mappings[1]["hostID"] = json!(user.range.0);
        mappings[1]["size"] = json!(user.range.1);
        mappings
    };
    r.edits(|config| {
        config["linux"]["uidMappings"] = mappings(user.uid);
        config["linux"]["gidMappings"] = mappings(user.gid);
    });
    let seen = r.visits("orlop run first", &["cat /proc/self/uid_map"]);
    assert!(seen.contains(&user.range.0.to_string()), "{seen}");

    let resources = "\"resources\": { \"memory\": { \"limit\": 67108864 } }";
    assert!(chapter.0.contains(resources));
    r.edits(|config| config["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } }));
    let (status, seen) = r.tries("orlop run first");
    assert_eq!(status, 1, "{seen}");
    let met = Chapter::of("When a container won't start").line_met("cannot make the cgroup");
    assert!(met.split(": …: ").all(|part| seen.contains(part)), "{seen}");
    let run = "orlop --systemd-cgroup run first";
    assert!(chapter.0.contains(run));
    let seen = r.visits(run, &["cat /sys/fs/cgroup/memory.max"]);
    assert!(seen.contains("67108864"), "{seen}");

    r.types("exit");
    r.bundle = PathBuf::from("/tmp/first");
}

// ---- limits

fn limits(r: &mut Reader) {
    let chapter = Chapter::of("Limits");
    r.edits(|config| {
        let members = chapter.members(0);
        for (name, value) in members["resources"].as_object().expect("an object") {
            config["linux"]["resources"][name] = value.clone();
        }
    });
    r.types("orlop create first && orlop start first");
    r.follows_all(&chapter);
    r.types("orlop delete --force first");
    r.edits(|config| {
        config["linux"].as_object_mut().expect("an object").remove("resources");
    });
}

// ---- when a container won't start

fn will_not_start(r: &mut Reader) {
    let chapter = Chapter::of("When a container won't start");
    r.follows_all(&chapter);

    let mut whole = Value::Null;
    r.edits(|config| whole = config.clone());
    let args = |args: &'static str| move |config: &mut Value| config["process"]["args"] = json!([args]);
    r.types("echo plain >rootfs/plain && chmod +x rootfs/plain && >rootfs/data");
    let says = |r: &mut Reader, begin: &str, name: &str, change: &dyn Fn(&mut Value)| {
        r.edits(|config| change(config));
        let (status, seen) = r.tries("orlop run first");
        let line = chapter.line_met(begin).replace("\"x\"", &format!("\"{name}\"")).replace("/x", name);
        assert!(status != 0 && seen.contains(&line), "{line}\n{seen}");
        r.edits(|config| *config = whole.clone());
    };
    says(r, "exec: \"x\": executable file", "nothing", &args("nothing"));
    says(r, "exec: \"/x\": stat", "/nothing", &args("/nothing"));
    says(r, "exec: \"/x\": exec format", "/plain", &args("/plain"));
    says(r, "exec: \"/x\": permission", "/data", &args("/data"));
    let mounts = |config: &mut Value, f: &dyn Fn(&mut Vec<Value>)| f(config["mounts"].as_array_mut().expect("mounts"));
    let no_terminals = |config: &mut Value| {
        config["process"]["terminal"] = json!(true);
        mounts(config, &|all| all.retain(|m| m["type"] != "devpts"));
    };
    says(r, "cannot open a terminal", "", &no_terminals);
    let no_source = |config: &mut Value| {
        let bind = json!({ "destination": "/data", "type": "bind", "source": "/x", "options": ["bind"] });
        mounts(config, &|all| all.push(bind.clone()));
    };
    says(r, "cannot bind", "/x", &no_source);
}
