//! A profile, read from the JSON both compilers are given, for the model and
//! for libseccomp. What runc and crun do before they call libseccomp is here:
//! default errnos, and what repeated indices mean.

use std::fmt;

use serde_json::Value;

pub const KILL: u32 = 0;
pub const ALLOW: u32 = 0x7fff_0000;
pub const EPERM: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    Masked,
}

/// Their names in a profile.
pub const OPS: [(&str, Op); 7] = [
    ("SCMP_CMP_NE", Op::Ne),
    ("SCMP_CMP_LT", Op::Lt),
    ("SCMP_CMP_LE", Op::Le),
    ("SCMP_CMP_EQ", Op::Eq),
    ("SCMP_CMP_GE", Op::Ge),
    ("SCMP_CMP_GT", Op::Gt),
    ("SCMP_CMP_MASKED_EQ", Op::Masked),
];

/// `value` is the mask of [`Op::Masked`], and `second` what it's compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub index: usize,
    pub op: Op,
    pub value: u64,
    pub second: u64,
}

/// All conditions must hold.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub action: u32,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub default: u32,
    pub archs: Vec<String>,
    /// In their order; none has the default action.
    pub rules: Vec<Rule>,
}

impl Profile {
    pub fn read(json: &Value) -> Self {
        let default = verdict(json["defaultAction"].as_str(), &json["defaultErrnoRet"]);
        let archs = list(&json["architectures"]).map(|a| a.as_str().expect("a name").to_string()).collect();
        let mut rules = Vec::new();
        for call in list(&json["syscalls"]) {
            let action = verdict(call["action"].as_str(), &call["errnoRet"]);
            for name in list(&call["names"]) {
                let name = name.as_str().expect("a name").to_string();
                let rule = |conditions| Rule { name: name.clone(), action, conditions };
                rules.extend(alternatives(list(&call["args"]).map(condition).collect()).into_iter().map(rule));
            }
        }
        rules.retain(|r| r.action != default);
        Self { default, archs, rules }
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

fn condition(json: &Value) -> Condition {
    let op = json["op"].as_str().expect("an operator");
    Condition {
        index: json["index"].as_u64().expect("an index") as usize,
        op: OPS.iter().find(|(name, _)| *name == op).expect("an operator").1,
        value: json["value"].as_u64().expect("a value"),
        second: json["valueTwo"].as_u64().unwrap_or(0),
    }
}

/// Where an index comes twice, each condition is a rule of its own.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice = |c: &Condition| conditions.iter().filter(|d| d.index == c.index).count() > 1;
    if conditions.iter().any(twice) { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] }
}

/// What a filter returns for an action.
fn verdict(action: Option<&str>, errno: &Value) -> u32 {
    let data = errno.as_u64().unwrap_or(EPERM) as u32;
    match action.expect("an action") {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | data,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | data,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => ALLOW,
        other => panic!("no action: {other}"),
    }
}

/// A verdict as people read it.
pub struct Shown(pub u32);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = match self.0 & 0xffff_0000 {
            0 => "KILL_THREAD",
            0x8000_0000 => "KILL_PROCESS",
            0x0003_0000 => "TRAP",
            0x0005_0000 => "ERRNO",
            0x7fc0_0000 => "NOTIFY",
            0x7ff0_0000 => "TRACE",
            0x7ffc_0000 => "LOG",
            0x7fff_0000 => "ALLOW",
            _ => "?",
        };
        write!(f, "{name} {}", self.0 & 0xffff)
    }
}
