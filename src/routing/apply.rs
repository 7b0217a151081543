//! Makes the changes of a plan in the kernel.

use super::kernel::{Add, Kernel};
use super::plan::Change;
use super::state::Link;
use super::{Outcome, TOLD};

/// Makes every change, and goes on when one is refused.
pub(super) fn apply(
    kernel: &mut Kernel,
    links: &[Link],
    changes: &[Change],
    outcome: &mut Outcome,
) {
    for change in changes {
        let result = match change {
            Change::AddRule(rule) => kernel.add_rule(rule),
            Change::RemoveRule(rule) => kernel.remove_rule(rule),
            Change::AddRoute(route) => kernel.add_route(route, Add::Beside),
            Change::Return(route) => kernel.add_route(route, Add::Alone),
            Change::RemoveRoute(route) => kernel.remove_route(route),
            Change::Move {
                copy: None, from, ..
            } => kernel.remove_route(from),
            Change::Move {
                copy: Some(copy),
                from,
                ..
            } => kernel
                .add_route(copy, Add::Beside)
                .and_then(|()| kernel.remove_route(from)),
        };
        let name = |index| name_of(links, index);
        match result {
            Ok(()) if change.is_refresh() => {}
            Ok(()) => outcome
                .changes
                .tell(TOLD, || change.past_words(&name).to_string()),
            Err(refused) => {
                outcome
                    .failures
                    .0
                    .tell(TOLD, || format!("{}: {refused}", change.words(&name)));
                // The kernel will say the same of all the others.
                if refused.is(libc::EPERM) {
                    break;
                }
            }
        }
    }
}

/// The name of a device; its number where it is none of ours.
pub(super) fn name_of(links: &[Link], index: u32) -> String {
    match links.iter().find(|link| link.index == index) {
        Some(link) => link.name.clone(),
        None => format!("#{index}"),
    }
}
