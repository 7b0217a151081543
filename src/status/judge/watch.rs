//! Whether anything would mend what others undo.

use super::Verdict;
use crate::pulse::{Beat, Watch};
use crate::status::facts::Seen;

const RESTART: &str = "`/etc/init.d/gluon-wan restart`";
/// More changes in an hour than the usual ups and downs of a WAN make.
const MANY: u32 = 60;

impl Verdict {
    /// A node without a watch works, until somebody undoes something.
    pub(super) fn watch(&mut self, watch: &Seen<Watch>) {
        match watch {
            Ok(Watch::None) => self.note(
                "watch",
                "there is no watch: what others undo stays undone",
                "`/etc/init.d/gluon-wan start`, or `gluon-wan sync --watch`",
            ),
            Ok(Watch::Ended) => self.problem(
                "watch",
                "the watch was killed or broke off: what others undo stays undone",
                format!("{RESTART}; `logread -e gluon-wan` and `dmesg` may say why"),
            ),
            Ok(Watch::Here(beat)) => self.beat(beat),
            Err(why) => self.unseen("watch", "the watch", why),
        }
    }

    fn beat(&mut self, beat: &Beat) {
        if beat.stopped {
            self.problem(
                "watch",
                format!("the watch (pid {}) is stopped and mends nothing", beat.pid),
                format!("`kill -CONT {}`, or {RESTART}", beat.pid),
            );
        }
        for line in &beat.trouble {
            self.problem(
                "watch",
                format!("the watch cannot put everything in place: {line}"),
                "it tries again by itself; `logread -e gluon-wan` has what went before",
            );
        }
        if beat.mended > MANY {
            let last = beat.changes.first();
            let last = last.map(|(_, change)| format!(", the last one: {change}"));
            self.note(
                "watch",
                format!(
                    "{} changes were made in the last hour{}",
                    beat.mended,
                    last.unwrap_or_default()
                ),
                "somebody else keeps undoing what gluon-wan puts in place; \
                 `ip monitor route rule` and `nft monitor` show it at work",
            );
        }
    }
}
