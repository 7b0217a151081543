//! The node: the model of the kernel, the keeper of rules and routes on it, and
//! the events that fall between its requests.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gluon_wan::config::Routing;
use gluon_wan::netlink::{Message, Refused, Requests};
use gluon_wan::routing::{Keeper, News, Withdrawn};

use super::Step;
use super::events::{DEVICES, Event, Op, UPLINKS};
use super::properties::{self, Intent};
use crate::kernel::{Kernel, Notice};

/// The port of our requests; whoever else changes something has another.
const OUR_PORT: u32 = 54;
/// How many looks without an event it may take to come to rest.
const LOOKS: u32 = 12;
/// How many changes of ours one event may cause, besides those that it undoes.
const CHANGES: usize = 60;

thread_local! {
    static BOOT: Instant = Instant::now();
    static CLOCK: Cell<u64> = const { Cell::new(0) };
}

/// The keeper's clock: the model's.
fn clock() -> Instant {
    BOOT.with(|boot| *boot) + Duration::from_millis(CLOCK.with(Cell::get))
}

/// What was seen, over all histories.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub histories: u32,
    pub events: u32,
    pub looks: u32,
    pub changes: u32,
    pub packets: u32,
    /// Marked packets that routing would have let go astray, in passing.
    pub held_in_passing: u32,
    /// And at rest, because of others' rules and routes.
    pub held_at_rest: u32,
    /// Unmarked ones that only the guard keeps off the WAN, at rest.
    pub unmarked_held: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u32| 100.0 * f64::from(part) / f64::from(self.packets.max(1));
        write!(
            f,
            "routing: {} histories, {} events, {} looks, {} changes of ours, {} packets\n\
             only the guard held: marked {} while events were under way ({:.3} %), {} at rest ({:.3} %); \
             unmarked {} ({:.3} %)",
            self.histories,
            self.events,
            self.looks,
            self.changes,
            self.packets,
            self.held_in_passing,
            share(self.held_in_passing),
            self.held_at_rest,
            share(self.held_at_rest),
            self.unmarked_held,
            share(self.unmarked_held),
        )
    }
}

/// What the keeper and the events share.
pub struct Shared {
    pub kernel: Kernel,
    history: VecDeque<Step>,
    /// What is left of an event that takes its time.
    ops: VecDeque<Op>,
    slow: bool,
    /// Requests of ours that go by before the next event.
    gap: u8,
    /// Nobody else does anything.
    still: bool,
    /// What was told to us since the last time we listened.
    told: Vec<(u16, Vec<u8>)>,
    withdrawn: Vec<Withdrawn>,
    /// Routers that were heard, and until when they are some.
    heard: Vec<(u32, IpAddr, u64)>,
    lost: bool,
    killed: bool,
    pub devices: Vec<String>,
    devices_changed: bool,
    /// Those that the look that is under way knows, and those since the last one
    /// that did all it wanted.
    in_force: Vec<String>,
    before: Vec<String>,
    /// Whether the table with the guard is there.
    pub guard: bool,
    pub intent: Intent,
    pub counts: Counts,
    changes: usize,
    /// What was wrong first.
    wrong: Option<String>,
    last: String,
}

/// The keeper's way to the kernel.
struct Wire(Rc<RefCell<Shared>>);

pub struct World {
    shared: Rc<RefCell<Shared>>,
    keeper: Keeper,
    routing: Routing,
}

impl World {
    pub fn new(history: &[Step]) -> Self {
        CLOCK.with(|clock| clock.set(0));
        let mut kernel = Kernel::boot();
        for name in DEVICES {
            let index = kernel.add_link(name);
            bring_up(&mut kernel, index);
        }
        kernel.notices.clear();
        let routing = Routing {
            ipv4: true,
            ipv6: true,
            ..Routing::default()
        };
        let shared = Rc::new(RefCell::new(Shared {
            kernel,
            history: history.iter().copied().collect(),
            ops: VecDeque::new(),
            slow: false,
            gap: history.first().map_or(0, |(gap, _)| *gap),
            still: false,
            told: Vec::new(),
            withdrawn: Vec::new(),
            heard: Vec::new(),
            lost: false,
            killed: false,
            devices: DEVICES[..UPLINKS]
                .iter()
                .map(|name| (*name).into())
                .collect(),
            devices_changed: true,
            in_force: Vec::new(),
            before: Vec::new(),
            guard: true,
            intent: Intent::default(),
            counts: Counts::default(),
            changes: 0,
            wrong: None,
            last: "boot".into(),
        }));
        Self {
            keeper: Keeper::over(Box::new(Wire(Rc::clone(&shared))), clock),
            shared,
            routing,
        }
    }

    /// Lives through the history.
    pub fn run(mut self, counts: &mut Counts) -> Result<(), String> {
        let result = self.live();
        let shared = self.shared.borrow();
        counts.add(&shared.counts);
        result
    }

    fn live(&mut self) -> Result<(), String> {
        let mut due = true;
        let mut looks = 0;
        loop {
            due |= self.hear();
            if due {
                // What falls into a look is another event.
                looks = match self.shared.borrow().is_over() {
                    true => looks + 1,
                    false => 0,
                };
                if looks > LOOKS {
                    return Err(self.wrong("does not come to rest"));
                }
                due = self.look()?;
                continue;
            }
            looks = 0;
            self.at_rest()?;
            let mut shared = self.shared.borrow_mut();
            if !shared.go_on() {
                return Ok(());
            }
        }
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what}; last: {}", self.shared.borrow().last)
    }

    /// What the watch does with what it hears (src/watch.rs); whether there is
    /// something to look at.
    fn hear(&mut self) -> bool {
        let mut shared = self.shared.borrow_mut();
        if std::mem::take(&mut shared.killed) {
            shared.told.clear();
            shared.withdrawn.clear();
            shared.heard.clear();
            drop(shared);
            self.keeper = Keeper::over(Box::new(Wire(Rc::clone(&self.shared))), clock);
            return true;
        }
        let mut news = News::default();
        let known = self.keeper.known().clone();
        for (kind, body) in std::mem::take(&mut shared.told) {
            let message = Message {
                kind,
                flags: 0,
                sequence: 0,
                port: 0,
                body: &body,
            };
            news.hear(&message, &self.routing, &shared.devices, &known);
        }
        news.lost = std::mem::take(&mut shared.lost);
        let withdrawn = std::mem::take(&mut shared.withdrawn);
        let due = news.concerns_us
            || news.lost
            || !withdrawn.is_empty()
            || std::mem::take(&mut shared.devices_changed);
        drop(shared);
        self.keeper.note(&news);
        self.keeper.withdraw(withdrawn);
        due
    }

    /// One look; whether another one is needed, as something was refused.
    fn look(&mut self) -> Result<bool, String> {
        let devices = self.shared.borrow().devices.clone();
        {
            let mut shared = self.shared.borrow_mut();
            let before = std::mem::replace(&mut shared.in_force, devices.clone());
            shared.before.extend(before);
        }
        let outcome = self.keeper.sync(&self.routing, &devices);
        let mut shared = self.shared.borrow_mut();
        shared.counts.looks += 1;
        // Its other part puts the table back.
        shared.guard = true;
        if let Some(wrong) = shared.wrong.take() {
            drop(shared);
            return Err(self.wrong(&wrong));
        }
        let refused = match outcome {
            Ok(outcome) if outcome.failures.is_empty() => {
                shared.before.clear();
                None
            }
            Ok(outcome) => Some(outcome.failures.to_string()),
            Err(error) => Some(format!("{error}")),
        };
        if let Some(refused) = &refused {
            shared.last = format!("{}, refused: {refused}", shared.last);
        }
        Ok(refused.is_some())
    }

    /// What must be true while nothing happens.
    fn at_rest(&mut self) -> Result<(), String> {
        let devices = self.shared.borrow().devices.clone();
        // Others wait while we only ask.
        self.shared.borrow_mut().still = true;
        let present = self.keeper.compare(&self.routing, &devices);
        let mut shared = self.shared.borrow_mut();
        shared.still = false;
        let (present, wanted) = match present {
            Ok(compared) => compared,
            Err(error) => {
                drop(shared);
                return Err(self.wrong(&format!("cannot be read: {error}")));
            }
        };
        let mut changes = gluon_wan::routing::plan::plan(&wanted, &present);
        // Nobody is told that a time is over until the kernel takes the route away.
        let now = shared.kernel.now;
        if shared
            .kernel
            .routes
            .iter()
            .any(|route| route.expires.is_some_and(|end| end <= now))
        {
            changes.clear();
        }
        let result = if changes.is_empty() {
            let is_whole = shared.ops.is_empty();
            properties::at_rest(&mut shared, is_whole)
        } else {
            Err(format!("rests, and should do {changes:?}"))
        };
        drop(shared);
        result.map_err(|what| self.wrong(&what))
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.histories += 1;
        self.events += other.events;
        self.looks += other.looks;
        self.changes += other.changes;
        self.packets += other.packets;
        self.held_in_passing += other.held_in_passing;
        self.held_at_rest += other.held_at_rest;
        self.unmarked_held += other.unmarked_held;
    }
}

/// Up, with its link-local address.
fn bring_up(kernel: &mut Kernel, index: u32) {
    if kernel.is_up(index) {
        return;
    }
    kernel.set_link(index, true);
    let addr = format!("fe80::{:x}", 0x700 + index).parse().unwrap();
    let _ = kernel.add_addr(index, addr, 64, false);
}

impl Shared {
    fn is_over(&self) -> bool {
        self.history.is_empty() && self.ops.is_empty()
    }

    /// The next thing that others do; false when there is none.
    fn go_on(&mut self) -> bool {
        let did = match self.ops.pop_front() {
            Some(op) => {
                op.perform(&mut self.kernel);
                true
            }
            None => self.next_event(),
        };
        while !self.slow
            && let Some(op) = self.ops.pop_front()
        {
            op.perform(&mut self.kernel);
        }
        self.listen(false);
        did
    }

    fn next_event(&mut self) -> bool {
        let Some((gap, event)) = self.history.pop_front() else {
            return false;
        };
        self.gap = self.history.front().map_or(0, |(gap, _)| *gap);
        self.slow = gap % 2 == 1;
        self.last = format!("{event:?}");
        self.counts.events += 1;
        self.changes = 0;
        self.intent.note(&event, &self.kernel);
        self.begin(event);
        self.ops = event.ops(&self.kernel).into();
        true
    }

    fn begin(&mut self, event: Event) {
        let index = |kernel: &Kernel, dev: u8| {
            let name = DEVICES[usize::from(dev) % DEVICES.len()];
            kernel.index(name).unwrap_or_default()
        };
        match event {
            Event::Advertisement {
                dev,
                router,
                lifetime,
                pref,
            } => {
                let dev = index(&self.kernel, dev % UPLINKS as u8);
                let router = format!("fe80::{}", router + 1).parse().unwrap();
                if self.kernel.is_up(dev) {
                    self.kernel.advertised(dev, router, lifetime.into(), pref);
                    self.hear_router(dev, router, lifetime);
                }
            }
            Event::LinkUp(dev) => {
                let dev = index(&self.kernel, dev);
                bring_up(&mut self.kernel, dev);
            }
            Event::LinkDown(dev) => {
                let dev = index(&self.kernel, dev);
                self.kernel.set_link(dev, false);
            }
            Event::Remade(dev) => {
                let old = index(&self.kernel, dev);
                self.kernel.del_link(old);
                let new = self
                    .kernel
                    .add_link(DEVICES[usize::from(dev) % DEVICES.len()]);
                bring_up(&mut self.kernel, new);
            }
            Event::Pass { seconds, gc } => {
                self.kernel.pass(u64::from(seconds) * 1000, gc);
                CLOCK.with(|clock| clock.set(self.kernel.now));
                let now = self.kernel.now;
                let over = self.heard.extract_if(.., |one| one.2 <= now);
                self.withdrawn
                    .extend(over.map(|(dev, router, _)| withdrawn(dev, router, true)));
            }
            Event::Lost => {
                self.lost = true;
                self.told.clear();
            }
            Event::Restarted => self.killed = true,
            Event::Devices(bits) => {
                let listed = (0..UPLINKS).filter(|at| bits & 1 << at != 0);
                self.devices = listed.map(|at| DEVICES[at].to_owned()).collect();
                self.devices_changed = true;
            }
            Event::TableFlushed => self.guard = false,
            _ => {}
        }
    }

    /// What routing::Routers makes of an advertisement.
    fn hear_router(&mut self, dev: u32, router: IpAddr, lifetime: u16) {
        let known = self.heard.len();
        self.heard.retain(|one| (one.0, one.1) != (dev, router));
        if lifetime == 0 {
            let was_default = self.heard.len() < known;
            self.withdrawn.push(withdrawn(dev, router, was_default));
        } else {
            let until = self.kernel.now + u64::from(lifetime) * 1000;
            self.heard.push((dev, router, until));
        }
    }

    /// Keeps what the kernel told: our own doing is no news.
    fn listen(&mut self, own: bool) {
        let told = self.kernel.told();
        if !own {
            self.told.extend(told);
        }
    }

    /// Others come before a request of ours.
    fn others(&mut self) {
        if self.still {
            return;
        }
        while self.gap == 0 && !self.is_over() || self.slow && !self.ops.is_empty() {
            if !self.go_on() || self.slow {
                break;
            }
        }
        self.gap = self.gap.saturating_sub(1);
    }

    fn change(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), i32> {
        self.listen(false);
        let before = self.kernel.clone();
        let devices = self.in_force.clone();
        let leaks = properties::leaks_of_ours(&before, &devices);
        let result = self.kernel.request(kind, flags, body, &mut |_| ());
        self.counts.changes += 1;
        self.changes += 1;
        let all = properties::leaks(&self.kernel, &devices, &mut self.counts.packets);
        let held = all.iter().filter(|leak| leak.marked).count();
        let after = properties::leaks_of_ours(&self.kernel, &devices);
        self.counts.held_in_passing += u32::try_from(held).unwrap();
        // Behind the one that goes first another may be in the way out already.
        let known = |leak: &properties::Leak| leaks.iter().any(|old| old.packet() == leak.packet());
        // Who took our rules away since we looked, or added his behind main, has
        // opened it.
        // A device that has just left the list takes its routes with it one by one.
        let left: Vec<u32> = self
            .before
            .iter()
            .filter_map(|name| self.kernel.index(name))
            .collect();
        // What we take away may uncover what is to be taken away next, or what
        // others added since we looked.
        let takes_away = matches!(kind, libc::RTM_DELROUTE | libc::RTM_DELRULE);
        let is_uncovered = |leak: &properties::Leak| !leak.marked && takes_away;
        let is_ours = |leak: &&properties::Leak| {
            !is_uncovered(leak)
                && properties::is_guarded(&before, leak)
                && !(leak.marked && left.contains(&leak.dev))
        };
        let new = after.iter().filter(is_ours).find(|leak| !known(leak));
        let change = || {
            let told = self
                .kernel
                .notices
                .iter()
                .map(described)
                .collect::<Vec<_>>();
            format!("{told:?} (request {kind}, {result:?})")
        };
        let mut wrong = None;
        if let Some(leak) = new {
            wrong = Some(format!(
                "our own change opened a leak: {leak:?} by {}",
                change()
            ));
        } else if let Err(what) = properties::foreign(&before, &self.kernel, &devices) {
            wrong = Some(format!("{what} by {}", change()));
        } else if self.changes > CHANGES + self.kernel.routes.len() {
            wrong = Some(format!("{} changes without an event", self.changes));
        }
        if self.wrong.is_none() {
            self.wrong = wrong;
        }
        self.listen(true);
        result
    }
}

fn withdrawn(device: u32, router: IpAddr, was_default: bool) -> Withdrawn {
    Withdrawn {
        device,
        router,
        was_default,
    }
}

fn described(notice: &Notice) -> String {
    format!("{notice:?}")
}

impl Requests for Wire {
    fn port(&self) -> u32 {
        OUR_PORT
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused> {
        let mut shared = self.0.borrow_mut();
        shared.others();
        if shared.killed {
            return Err(refused(libc::EINTR));
        }
        let result = match kind {
            libc::RTM_GETLINK => shared.kernel.request(kind, flags, body, take),
            _ => shared.change(kind, flags, body),
        };
        result.map_err(refused)
    }

    fn dump_once(
        &mut self,
        kind: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Refused> {
        let mut shared = self.0.borrow_mut();
        shared.others();
        if shared.killed {
            return Err(refused(libc::EINTR));
        }
        let dumped = shared.kernel.dump(kind, body).map_err(refused)?;
        dumped.iter().for_each(|message| take(message));
        Ok(true)
    }
}

fn refused(errno: i32) -> Refused {
    io::Error::from_raw_os_error(errno).into()
}
