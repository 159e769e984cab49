//! A small web application in an image built by either builder, and served.

use std::fs;
use std::path::Path;

use runtime_tests::engines::docker::BUILDKIT_LOG;
use runtime_tests::engines::{Manager, offered};
use runtime_tests::host;
use runtime_tests::require;

use super::walk::{Walk, eventually, get, text};

const DOCKERFILE: &str = r#"FROM debian:forky
COPY debs /debs
RUN dpkg --install /debs/lib*.deb /debs/python3.*.deb && dpkg --install /debs/python3-*.deb && rm -r /debs
WORKDIR /app
COPY app.py .
ARG GREETING=nothing
ENV GREETING=$GREETING
RUN python3 -c "import app; assert app.answer('/')[0] == 200" && rm -r __pycache__ && useradd --system web
USER web
EXPOSE 8080
CMD ["python3", "-u", "app.py"]
"#;

/// Like one of Flask's, without Flask.
const APP: &str = r#"import json, os, socket

routes = {}

def route(path):
    def add(function):
        routes[path] = function
        return function
    return add

@route("/")
def hello():
    return os.environ.get("GREETING", "hello") + " from " + socket.gethostname() + "\n"

@route("/me")
def me():
    return json.dumps({"uid": os.getuid(), "pid": os.getpid(), "cwd": os.getcwd()}) + "\n"

def answer(path):
    return (200, routes[path]()) if path in routes else (404, "not found\n")

if __name__ == "__main__":
    with socket.create_server(("0.0.0.0", 8080)) as server:
        print("serving", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                request = connection.makefile().readline().split(" ")
                if len(request) == 3:
                    status, body = answer(request[1])
                    head = f"HTTP/1.0 {status} {'OK' if status == 200 else 'Not Found'}\r\n\r\n"
                    connection.sendall((head + body).encode())
"#;

/// The directory that is built from.
fn context(w: &Walk) -> std::path::PathBuf {
    let dir = w.dir("context");
    fs::create_dir(dir.join("debs")).unwrap();
    for entry in fs::read_dir("/usr/share/orlop-test/debs").expect("the VM's packages").flatten() {
        fs::copy(entry.path(), dir.join("debs").join(entry.file_name())).unwrap();
    }
    fs::write(dir.join("app.py"), APP).unwrap();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    dir
}

/// Builds, serves and fetches; `builder` is DOCKER_BUILDKIT. Both builders say
/// in their own words what they do, and run its steps with the runtime.
fn build_and_serve(w: &Walk, builder: &str) {
    w.debian();
    let (dir, image) = (context(w), format!("{}app:{builder}", w.c.id));
    let flags = ["build", "--build-arg", "GREETING=built", "--tag", &image];
    let out = w.docker(&flags).arg(text(&dir)).env("DOCKER_BUILDKIT", builder).go().ok();
    let said = out.stdout + &out.stderr;
    assert!(said.contains("Setting up python3-minimal"), "{said}");
    assert_eq!(builder == "0", said.contains("Step 3/11 : RUN dpkg"), "{said}");

    let id = w.start_image(&image, &["--publish=8080:8080"], &[]);
    w.wait_log(&id, "serving");
    let hello = eventually("an answer", || get("127.0.0.1:8080", "/"));
    assert_eq!(hello, format!("HTTP/1.0 200 OK\r\n\r\nbuilt from {}\n", &id[..12]));
    let me = get("127.0.0.1:8080", "/me").expect("an answer");
    assert!(me.ends_with("\"pid\": 1, \"cwd\": \"/app\"}\n") && !me.contains("\"uid\": 0,"), "{me}");
    assert!(get("127.0.0.1:8080", "/nosuch").expect("an answer").starts_with("HTTP/1.0 404"));
    // By its own address too, without docker's proxy.
    let address = w.inspect(&id, "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert_eq!(get(&format!("{address}:8080"), "/").expect("an answer"), hello);
    // A step that is refused is told of.
    refused(w, &dir, &image, builder);
    w.docker(&["rm", "--force", &id]).go().ok();
    w.docker(&["image", "rm", "--force", &image]).go().ok();
}

fn refused(w: &Walk, dir: &Path, image: &str, builder: &str) {
    let file = format!("FROM {image}\nUSER root\nRUN echo step runs && exit 7\n");
    fs::write(dir.join("Dockerfile.fails"), file).unwrap();
    let build = w.docker(&["build", "--file", text(&dir.join("Dockerfile.fails")), text(dir)]);
    let out = build.env("DOCKER_BUILDKIT", builder).go();
    let said = out.stdout.clone() + &out.stderr;
    assert!(out.code() != 0 && said.contains("step runs"), "{said}");
    assert!(said.contains("code: 7"), "{said}");
}

#[test]
fn the_classic_builder_builds_an_application() {
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    build_and_serve(&w, "0");
}

/// The BuildKit within dockerd, whose steps are run by what DOCKER_BUILDKIT_RUNC_COMMAND names.
#[test]
fn buildkit_builds_an_application() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    build_and_serve(&w, "1");
}

/// What BuildKit has and the other builder has not: mounts of a step's own.
#[test]
fn buildkits_mounts_and_stages() {
    require!(host::at_length());
    require!(offered(Manager::Systemd));
    let w = Walk::new();
    let dir = w.dir("context");
    let file = format!(
        "FROM {image} AS first
RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c --mount=type=secret,id=word,target=/run/word \\
    touch /t/x /c/x && cat /run/word >/result && cat /proc/self/cgroup && grep -q ' /t tmpfs ' /proc/self/mounts
FROM {image}
COPY --from=first /result /result
RUN --network=none --mount=type=bind,from=first,source=/etc,target=/mnt \\
    ls /mnt/passwd && ls /sys/class/net >/networks && ! test -e /t/x && ! test -e /run/word
",
        image = runtime_tests::engines::docker::IMAGE
    );
    fs::write(dir.join("Dockerfile"), file).unwrap();
    fs::write(dir.join("word"), "a secret\n").unwrap();
    let (image, secret) = (format!("{}stages", w.c.id), format!("id=word,src={}", text(&dir.join("word"))));
    let runs = || {
        let calls = fs::read_to_string(BUILDKIT_LOG).unwrap_or_default();
        calls.lines().filter(|l| l.contains(" run --bundle ")).count()
    };
    let before = runs();
    w.docker(&["build", "--no-cache", "--secret", &secret, "--tag", &image, text(&dir)])
        .env("DOCKER_BUILDKIT", "1")
        .go()
        .ok();
    let seen = w.make("run", &["--rm"], &image, &["cat", "/result", "/networks"]).go().ok();
    assert_eq!(seen.text(), "a secret\nlo");
    assert_eq!(runs() - before, 2, "its two steps are the runtime's");
    w.docker(&["image", "rm", &image]).go().ok();
}
