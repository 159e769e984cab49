//! criu's requests and answers (criu, `images/rpc.proto`), as far as they are
//! used here.

use super::wire::{Encoder, Value, fields};

/// What is asked of criu (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Save the processes.
    Dump = 1,
    /// Bring them back.
    Restore = 2,
    /// Save memory only.
    PreDump = 4,
    /// What it says while at work, and what it is answered.
    Notify = 6,
    /// Ask whether it and the kernel can do something.
    FeatureCheck = 9,
}

/// Options that are on or off, by their number in `criu_opts`.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "criu(8) has them by the same names")]
pub enum Flag {
    LeaveRunning = 3,
    ExtUnixSk = 4,
    TcpEstablished = 5,
    EvasiveDevices = 6,
    ShellJob = 7,
    FileLocks = 8,
    NotifyScripts = 12,
    TrackMem = 15,
    AutoDedup = 16,
    LinkRemap = 18,
    ManageCgroups = 24,
    RstSibling = 26,
    TcpSkipInFlight = 46,
    LazyPages = 48,
    OrphanPtsMaster = 50,
    TcpClose = 52,
}

/// Options with a number.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "criu(8) has them by the same names")]
pub enum Number {
    ImagesDirFd = 1,
    Pid = 2,
    LogLevel = 9,
    WorkDirFd = 17,
    ManageCgroupsMode = 34,
    EmptyNs = 38,
    NetworkLock = 64,
}

/// Options with a text; those of a list may be given again and again.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "criu(8) has them by the same names")]
pub enum Text {
    LogFile = 10,
    Root = 13,
    ParentImg = 14,
    External = 37,
    FreezeCgroup = 44,
    ConfigFile = 51,
    LsmProfile = 53,
    CgroupYard = 60,
    LsmMountContext = 63,
}

/// `criu_opts`.
#[derive(Debug, Clone, Default)]
pub struct Options(Encoder);

impl Options {
    /// Switches an option on, if it is to be.
    pub fn flag(&mut self, flag: Flag, on: bool) {
        if on {
            self.0.number(flag as u32, 1);
        }
    }

    /// Gives an option its number.
    pub fn number(&mut self, number: Number, value: i64) {
        self.0.number(number as u32, value);
    }

    /// Gives an option its text, or a list one more.
    pub fn text(&mut self, text: Text, value: &str) {
        self.0.text(text as u32, value);
    }

    /// Where pages are sent to, or asked for.
    pub fn page_server(&mut self, address: &str, port: u16) {
        let mut server = Encoder::default();
        server.text(1, address);
        server.number(2, port.into());
        self.0.message(11, &server);
    }

    /// A mount that is not the container's own: on dump, the mount point and
    /// its name in the image; on restore, the name and what is mounted there.
    pub fn external_mount(&mut self, key: &str, value: &str) {
        let mut map = Encoder::default();
        map.text(1, key);
        map.text(2, value);
        self.0.message(23, &map);
    }

    /// The cgroup that takes the place of the one in the image.
    pub fn cgroup_root(&mut self, path: &str) {
        let mut root = Encoder::default();
        // The name of the cgroup v2 hierarchy.
        root.text(1, "");
        root.text(2, path);
        self.0.message(25, &root);
    }

    /// An open file of criu's own that takes the place of `key`.
    pub fn inherit(&mut self, key: &str, fd: i32) {
        let mut inherit = Encoder::default();
        inherit.text(1, key);
        inherit.number(2, fd.into());
        self.0.message(27, &inherit);
    }

    /// A namespace to join.
    pub fn join(&mut self, kind: &str, file: &str) {
        let mut join = Encoder::default();
        join.text(1, kind);
        join.text(2, file);
        self.0.message(39, &join);
    }
}

/// What the kernel or criu may lack (`criu_features`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Which pages have changed: for pre-dumps.
    MemTrack = 1,
    /// Pages on demand.
    LazyPages = 2,
}

/// A request to do something.
pub fn request(action: Action, options: &Options) -> Vec<u8> {
    let mut message = Encoder::default();
    message.number(1, action as i64);
    message.message(2, &options.0);
    message.finish()
}

/// The question whether something can be done.
pub fn question(feature: Feature) -> Vec<u8> {
    let (mut message, mut features) = (Encoder::default(), Encoder::default());
    features.number(feature as u32, 1);
    message.number(1, Action::FeatureCheck as i64);
    message.message(5, &features);
    message.finish()
}

/// The answer to a notice: go on, or don't.
pub fn answer(success: bool) -> Vec<u8> {
    let mut message = Encoder::default();
    message.number(1, Action::Notify as i64);
    message.number(3, success.into());
    message.finish()
}

/// `criu_resp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// To which action, or that it is a notice.
    pub action: u64,
    /// Did it work?
    pub success: bool,
    /// The restored init, if there is one: in our pid namespace.
    pub restored: Option<i32>,
    /// The name of a notice.
    pub notice: Option<String>,
    /// The process it is about.
    pub pid: Option<i32>,
    /// criu's errno.
    pub errno: Option<i32>,
    /// What criu says of it.
    pub message: Option<String>,
    /// Of the features asked for, those there are.
    pub features: Vec<u32>,
}

impl Response {
    /// Reads one; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, Value::Number(action)) => response.action = action,
                (2, Value::Number(success)) => response.success = success != 0,
                (4, Value::Bytes(restored)) => response.restored = number(restored, 1)?,
                (5, Value::Bytes(notice)) => {
                    response.pid = number(notice, 2)?;
                    let script = fields(notice).flatten().find_map(|field| match field {
                        (1, Value::Bytes(text)) => Some(String::from_utf8_lossy(text).into_owned()),
                        _ => None,
                    });
                    response.notice = Some(script?);
                }
                (7, Value::Number(errno)) => response.errno = i32::try_from(errno as i64).ok(),
                (8, Value::Bytes(features)) => {
                    let there = fields(features).flatten().filter(|(_, value)| *value != Value::Number(0));
                    response.features = there.map(|(number, _)| number).collect();
                }
                (9, Value::Bytes(text)) => response.message = Some(String::from_utf8_lossy(text).into_owned()),
                _ => {}
            }
        }
        Some(response)
    }
}

/// The number in a field of a message, if it has it; `None` outside for what is no message.
fn number(message: &[u8], wanted: u32) -> Option<Option<i32>> {
    let mut found = None;
    for field in fields(message) {
        if let (number, Value::Number(value)) = field?
            && number == wanted
        {
            found = Some(i32::try_from(value as i64).ok()?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read() {
        let mut notify = Encoder::default();
        notify.text(1, "post-restore");
        notify.number(2, 77);
        let mut message = Encoder::default();
        message.number(1, 6);
        message.number(2, 1);
        message.message(5, &notify);
        let response = Response::read(&message.clone().finish()).unwrap();
        assert_eq!(
            (response.notice.as_deref(), response.pid, response.success),
            (Some("post-restore"), Some(77), true)
        );

        message.number(7, -3);
        message.text(9, "no");
        let response = Response::read(&message.finish()).unwrap();
        assert_eq!((response.errno, response.message.as_deref()), (Some(-3), Some("no")));
        assert_eq!(Response::read(&[0x2a, 1, 0xff]), None);
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = Response::read(&bytes);
        }
    }
}
