//! The kernel's reverse path filter, where it would drop what answers marked
//! IPv4 packets.
//!
//! It looks up the source of what comes in, without a mark (with
//! `src_valid_mark`, with the mark that the packet itself has: none). That
//! look-up leads to the mesh, or nowhere.

use super::obstacle::Obstacle;
use super::state::Link;

/// Where the kernel shows the settings.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// The WAN devices whose filter is on. For each the larger one of `all`'s and
/// its own setting counts (IN_DEV_RPFILTER of linux/inetdevice.h).
#[must_use]
pub fn obstacles(links: &[Link]) -> Vec<Obstacle> {
    let all = setting("all");
    let filtered = links.iter().filter_map(|link| {
        let value = all.max(setting(&link.name));
        let (mode, consequence) = match value {
            0 => return None,
            1 => ("strict", "it drops the answers to marked packets"),
            _ => (
                "loose",
                "it drops the answers to marked packets while main has no default route",
            ),
        };
        Some(Obstacle::ReversePath {
            device: link.name.clone(),
            mode,
            value,
            consequence,
        })
    });
    filtered.collect()
}

fn setting(name: &str) -> u8 {
    std::fs::read_to_string(format!("{SETTINGS}/{name}/rp_filter"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
