//! What stands in the way and is not ours to change.

use super::prefix::Family;

/// Something that is wrong and that we must not mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A multipath route in main through the WAN and something else.
    #[error(
        "the {family} route to {destination} with metric {metric} has next hops on the WAN \
         ({device}) and elsewhere, and cannot be taken apart: make it two routes"
    )]
    Mixed {
        /// Of the route.
        family: Family,
        /// As ip(8) writes it.
        destination: String,
        /// Of the route.
        metric: u32,
        /// A WAN device of it.
        device: String,
    },
    /// More routes than are kept.
    #[error(
        "the WAN has more than {limit} {family} routes: the further ones are kept out of main, \
         and not put into table {table}; see who announces them, `ip route show table {table}`"
    )]
    TooMany {
        /// Whose.
        family: Family,
        /// How many are kept.
        limit: usize,
        /// The WAN's table.
        table: u32,
    },
    /// Somebody's default route in the WAN's table through a device that is none
    /// of the WAN's: what is marked takes it, and is stopped by the guard.
    #[error(
        "a default route of table {table} leads through {device}, which is none of the WAN's devices: \
         marked packets that take it are stopped; add {device} to `list device` if it is an uplink"
    )]
    Unlisted {
        /// The device.
        device: String,
        /// The WAN's table.
        table: u32,
    },
    /// A reverse path filter that drops what answers marked packets.
    #[error(
        "the reverse path filter of {device} is {mode} (rp_filter={value}): {consequence}; \
         set net.ipv4.conf.all.rp_filter and net.ipv4.conf.{device}.rp_filter to 0"
    )]
    ReversePath {
        /// The WAN device.
        device: String,
        /// strict or loose
        mode: &'static str,
        /// The number that counts: the larger one of the device's and `all`'s.
        value: u8,
        /// What does not work.
        consequence: &'static str,
    },
}
