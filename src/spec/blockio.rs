//! `linux.resources.blockIO`.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::faults::Faults;
use super::resources::Settings;
use super::weights;

const AT: &str = "linux.resources.blockIO";

/// Resolves `blockIO` into weights and `io.max`.
pub(crate) fn resolve(b: &LinuxBlockIo, out: &mut Settings, faults: &mut Faults) {
    if let Some(weight) = b.weight().filter(|w| *w != 0) {
        put_weight(format!("{AT}.weight"), "default", weight, out, faults);
    }
    refuse_leaf_weight(&format!("{AT}.leafWeight"), b.leaf_weight(), faults);
    for (i, device) in b.weight_device().iter().flatten().enumerate() {
        weight_device(&format!("{AT}.weightDevice[{i}]"), device, out, faults);
    }
    for (name, key, list) in [
        ("throttleReadBpsDevice", "rbps", b.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", b.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", b.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", b.throttle_write_iops_device()),
    ] {
        for (i, device) in list.iter().flatten().enumerate() {
            throttle(format!("{AT}.{name}[{i}]"), key, device, out, faults);
        }
    }
}

fn refuse_leaf_weight(at: &str, weight: Option<u16>, faults: &mut Faults) {
    if weight.is_some_and(|w| w != 0) {
        faults.add(at, "cgroup2 has no leaf weights");
    }
}

/// The kernel has two weights: that of the BFQ scheduler, which is the one the
/// config speaks of, and where BFQ is not loaded that of the io.cost controller.
fn put_weight(at: String, target: &str, weight: u16, out: &mut Settings, faults: &mut Faults) {
    if (10..=1000).contains(&weight) {
        out.put(at.clone(), "io.bfq.weight", format!("{target} {weight}"));
        out.put(at, "io.weight", format!("{target} {}", weights::io(weight)));
    } else {
        faults.add(at, format!("{weight} is not between 10 and 1000"));
    }
}

fn weight_device(at: &str, device: &LinuxWeightDevice, out: &mut Settings, faults: &mut Faults) {
    refuse_leaf_weight(&format!("{at}.leafWeight"), device.leaf_weight(), faults);
    let id = device_id(at, device.major(), device.minor(), faults);
    match (device.weight(), device.leaf_weight(), id) {
        (Some(weight), _, Some(id)) => put_weight(format!("{at}.weight"), &id, weight, out, faults),
        (None, None, _) => faults.add(at, "needs a weight"),
        _ => {}
    }
}

fn throttle(at: String, key: &str, device: &LinuxThrottleDevice, out: &mut Settings, faults: &mut Faults) {
    let Some(id) = device_id(&at, device.major(), device.minor(), faults) else { return };
    // 0 lifted the limit in cgroup v1.
    match device.rate() {
        0 => out.put(at, "io.max", format!("{id} {key}=max")),
        rate => out.put(at, "io.max", format!("{id} {key}={rate}")),
    }
}

fn device_id(at: &str, major: i64, minor: i64, faults: &mut Faults) -> Option<String> {
    if major < 0 || minor < 0 {
        faults.add(at, format!("{major}:{minor} is not a device"));
        return None;
    }
    Some(format!("{major}:{minor}"))
}
