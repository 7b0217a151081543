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
        match self.seen("watch", &"the watch", watch) {
            Some(Watch::None) => self.note(
                "watch",
                &"there is no watch: what others undo stays undone",
                &"`/etc/init.d/gluon-wan start`, or `gluon-wan sync --watch`",
            ),
            Some(Watch::Ended) => self.problem(
                "watch",
                &"the watch was killed or broke off: what others undo stays undone",
                &format_args!("{RESTART}; `logread -e gluon-wan` and `dmesg` may say why"),
            ),
            Some(Watch::Here(beat)) => self.beat(beat),
            None => {}
        }
    }

    fn beat(&mut self, beat: &Beat) {
        let Beat { pid, mended, .. } = beat;
        if beat.stopped {
            self.problem(
                "watch",
                &format_args!("the watch (pid {pid}) is stopped and mends nothing"),
                &format_args!("`kill -CONT {pid}`, or {RESTART}"),
            );
        }
        for line in &beat.trouble {
            self.problem(
                "watch",
                &format_args!("the watch cannot put everything in place: {line}"),
                &"it tries again by itself; `logread -e gluon-wan` has what went before",
            );
        }
        if *mended > MANY {
            let (comma, last) = match beat.changes.first() {
                Some((_, change)) => (", the last one: ", change.as_str()),
                None => ("", ""),
            };
            self.note(
                "watch",
                &format_args!("{mended} changes were made in the last hour{comma}{last}"),
                &"somebody else keeps undoing what gluon-wan puts in place; \
                  `ip monitor route rule` and `nft monitor` show it at work",
            );
        }
    }
}
