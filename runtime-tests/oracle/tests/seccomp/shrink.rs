//! The smallest profile that still fails: what a person wants to look at.

use serde_json::Value;

/// Leaves out whatever can be left out of `profile` so that `fails` still does.
pub fn shrink(mut profile: Value, fails: impl Fn(&Value) -> bool) -> Value {
    loop {
        let smaller = lists(&profile).into_iter().find_map(|path| {
            let len = profile.pointer(&path).and_then(Value::as_array).map_or(0, Vec::len);
            let without = |at| {
                let mut less = profile.clone();
                less.pointer_mut(&path).and_then(Value::as_array_mut).expect("a list").remove(at);
                less
            };
            // The last name of a rule has to stay.
            let least = usize::from(path.ends_with("/names"));
            (0..len).filter(|_| len > least).map(without).find(&fails)
        });
        match smaller {
            Some(less) => profile = less,
            None => return profile,
        }
    }
}

/// Where the lists of a profile are, the long ones first.
fn lists(profile: &Value) -> Vec<String> {
    let calls = profile["syscalls"].as_array().map_or(0, Vec::len);
    let of_call = |at| [format!("/syscalls/{at}/names"), format!("/syscalls/{at}/args")];
    let all = ["/syscalls".into(), "/architectures".into()].into_iter().chain((0..calls).flat_map(of_call));
    all.filter(|path| profile.pointer(path).is_some()).collect()
}
