//! `kubectl exec` and `kubectl attach`: streams by a WebSocket of the daemon's.
//!
//! Its version of the protocol has no way to end the input alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use runtime_tests::engines::{Manager, offered};
use runtime_tests::{Case, Value, json, require};

use super::node::{Container, PodConfig, turn};

/// Kubernetes' channels of one connection.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const SIZE: u8 = 4;

/// A connection to a process in a container.
struct Streams {
    stream: TcpStream,
    /// What came so far, by channel.
    came: [String; 4],
}

impl Streams {
    /// `Exec` or `Attach`, and a connection to where that says.
    #[track_caller]
    fn open(container: &Container, method: &str, request: Value) -> Self {
        let url = container.ask(method, request)["url"].as_str().expect("a URL").to_owned();
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL of HTTP");
        let mut stream = TcpStream::connect(host).expect("the daemon's streams");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let head = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: b3Jsb3Agb3Jsb3AgISE=\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Self { stream, came: Default::default() }
    }

    /// Sends one message, masked with nothing.
    fn send(&mut self, channel: u8, data: &[u8]) {
        let len = u8::try_from(data.len() + 1).ok().filter(|n| *n < 126).expect("a short message");
        let mut frame = vec![0x82, 0x80 | len, 0, 0, 0, 0, channel];
        frame.extend(data);
        self.stream.write_all(&frame).expect("sent");
    }

    /// Takes one message; false at the end of the connection.
    fn receive(&mut self) -> bool {
        let mut head = [0; 2];
        if self.stream.read_exact(&mut head).is_err() || head[0] & 0x0f == 8 {
            return false;
        }
        let mut len = usize::from(head[1] & 0x7f);
        if len == 126 {
            let mut long = [0; 2];
            self.stream.read_exact(&mut long).expect("a length");
            len = usize::from(u16::from_be_bytes(long));
        }
        let mut message = vec![0; len];
        self.stream.read_exact(&mut message).expect("a message");
        if let Some((channel, data)) = message.split_first()
            && let Some(came) = self.came.get_mut(usize::from(*channel))
        {
            came.push_str(&String::from_utf8_lossy(data));
        }
        true
    }

    /// Waits for a text of a channel.
    #[track_caller]
    fn expect(&mut self, channel: u8, text: &str) {
        while !self.came[usize::from(channel)].contains(text) {
            assert!(self.receive(), "the end, and no {text:?}: {:?}", self.came);
        }
    }

    /// Reads to the end; what came: standard output, standard error, `Success` or an exit status.
    #[track_caller]
    fn end(mut self) -> (String, String, String) {
        while self.receive() {}
        let outcome = &self.came[usize::from(OUTCOME)];
        let outcome: Value = serde_json::from_str(outcome).unwrap_or_else(|e| panic!("{e}: {:?}", self.came));
        let [_, stdout, stderr, _] = self.came;
        let code = &outcome["details"]["causes"][0]["message"];
        (stdout, stderr, code.as_str().or(outcome["status"].as_str()).unwrap_or_default().to_owned())
    }
}

#[test]
fn exec_has_streams_and_a_status() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").start();
    let script = "read line; echo got $line; head -c 4; echo err >&2; exit 3";
    let request = json!({ "cmd": ["sh", "-c", script], "stdin": true, "stdout": true, "stderr": true });
    let mut streams = Streams::open(&one, "Exec", request);
    streams.send(STDIN, b"a line\n");
    streams.expect(STDOUT, "got a line\n");
    streams.send(STDIN, b"more");
    streams.expect(STDERR, "err\n");
    assert_eq!(streams.end(), ("got a line\nmore".to_owned(), "err\n".to_owned(), "3".to_owned()));

    let request = json!({ "cmd": ["echo", "hello"], "stdout": true, "stderr": true });
    let (stdout, _, status) = Streams::open(&one, "Exec", request).end();
    assert_eq!((&*stdout, &*status), ("hello\n", "Success"));
    one.end();
    pod.end();
}

#[test]
fn exec_has_a_terminal() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").start();
    let script = "tty; until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done; read line; echo got $line
        trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done";
    let request = json!({ "cmd": ["sh", "-c", script], "tty": true, "stdin": true, "stdout": true });
    let mut streams = Streams::open(&one, "Exec", request);
    streams.expect(STDOUT, "/dev/pts/0\r\n");
    streams.send(SIZE, br#"{"Width":101,"Height":33}"#);
    streams.send(STDIN, b"a line\n");
    streams.expect(STDOUT, "got a line\r\n");
    streams.expect(STDOUT, "ready\r\n");
    // An interrupt is what the terminal makes of a control-C.
    streams.send(STDIN, b"\x03");
    streams.expect(STDOUT, "caught\r\n");
    let (_, _, status) = streams.end();
    assert_eq!(status, "5");
    one.end();
    pod.end();
}

#[test]
fn attach_is_the_first_process_own_terminal() {
    require!(offered(Manager::Cgroupfs));
    let _turn = turn();
    let c = Case::new();
    let pod = PodConfig::new(&c, Manager::Cgroupfs).host_network().run();
    let one = pod.container("one").sh("read line; echo got $line; tty; exit 6").set("/tty", true);
    let one = one.set("/stdin", true).start();
    let mut streams = Streams::open(&one, "Attach", json!({ "tty": true, "stdin": true, "stdout": true }));
    streams.send(STDIN, b"a line\n");
    streams.expect(STDOUT, "got a line\r\n");
    assert_eq!(one.wait()["exit_code"], 6);
    let log = one.log("stdout");
    assert!(log.contains("got a line") && log.contains("/dev/"), "{log}");
    pod.end();
}
