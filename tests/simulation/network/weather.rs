//! What lies between the resolver and its servers, and how these behave.

use std::time::Duration;

use proptest::prelude::*;

use crate::dice::Dice;

/// How long a round trip takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    Constant(u16),
    /// From the first number to the sum of both.
    Jittered(u16, u16),
    /// One or the other: a queue that is empty or full.
    Bimodal(u16, u16),
    /// From one to the other within 20 s: an uplink that fills.
    Growing(u16, u16),
}

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Healthy,
    Silent,
    Servfail,
    Refused,
    Notimp,
    /// Neither recurses nor knows the name.
    Lame,
    /// Answers another question.
    WrongQuestion,
    /// Spells the question in small letters.
    Lowercased,
    /// FORMERR without a question for what has EDNS, as servers from before it.
    NoEdns,
    /// TC, and no answer.
    Truncated,
    /// Each answer comes once more, a little later.
    Twice,
    /// Its answer is as long as the query allows.
    Long,
    /// Its machine has no such port: ICMP.
    Closed,
    /// The kernel has no route to it.
    NoRoute,
}

/// A server and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub delay: Delay,
    pub behaviour: Behaviour,
    /// Percent of the datagrams that are lost, on the way there and back.
    pub loss: u8,
    /// Percent of the replies that come twice.
    pub doubled: u8,
    /// Queries that it takes in a second; none: all.
    pub rate: Option<u8>,
}

impl Delay {
    /// Of a query that leaves at a time since the beginning.
    pub fn sample(self, at: Duration, dice: &mut Dice) -> Duration {
        let ms = match self {
            Self::Constant(ms) => u64::from(ms),
            Self::Jittered(ms, more) => u64::from(ms) + dice.below(u64::from(more) + 1),
            Self::Bimodal(one, other) if dice.happens(50) => u64::from(one.max(other)),
            Self::Bimodal(one, other) => u64::from(one.min(other)),
            Self::Growing(from, to) => {
                let share = at.as_secs_f64().min(20.0) / 20.0;
                let (from, to) = (f64::from(from), f64::from(to));
                (from + (to - from) * share) as u64
            }
        };
        Duration::from_millis(ms.max(1))
    }

    /// The longest.
    pub fn worst(self) -> Duration {
        let ms = match self {
            Self::Constant(ms) => ms,
            Self::Jittered(ms, more) => ms + more,
            Self::Bimodal(one, other) | Self::Growing(one, other) => one.max(other),
        };
        Duration::from_millis(u64::from(ms))
    }
}

impl Link {
    /// When a query's reply comes, as often as it does; that of a closed port is an
    /// ICMP error.
    pub fn fate(&self, at: Duration, luck: &mut Dice) -> Vec<Duration> {
        let delay = self.delay.sample(at, luck);
        let is_lost = luck.happens(self.loss.into());
        let is_back = !luck.happens(self.loss.into());
        let is_doubled = luck.happens(self.doubled.into());
        let later = delay + Duration::from_millis(luck.below(900));
        let is_second_back = !luck.happens(self.loss.into());
        if is_lost || matches!(self.behaviour, Behaviour::Silent | Behaviour::NoRoute) {
            return vec![];
        }
        let mut times = Vec::new();
        if is_back {
            times.push(delay);
        }
        if (self.behaviour == Behaviour::Twice || is_doubled) && is_second_back {
            times.push(later);
        }
        times
    }
}

/// What becomes of the nth query for a name to a server: the same whoever sends it,
/// and whatever else is sent.
pub fn luck(chance: u64, name: u8, server: usize, nth: usize) -> Dice {
    let which = u64::from(name) << 32 | (server as u64) << 16 | nth as u64;
    Dice::new(Dice::new(chance ^ which.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next())
}

pub fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![
        4 => (1..100_u16).prop_map(Delay::Constant),
        3 => (100..4500_u16).prop_map(Delay::Constant),
        2 => (1..1000_u16, 1..1000_u16).prop_map(|(ms, more)| Delay::Jittered(ms, more)),
        1 => (1..100_u16, 300..3000_u16).prop_map(|(one, other)| Delay::Bimodal(one, other)),
        1 => (1..100_u16, 300..4000_u16).prop_map(|(from, to)| Delay::Growing(from, to)),
    ]
}

pub fn behaviour() -> impl Strategy<Value = Behaviour> {
    use Behaviour::{
        Closed, Healthy, Lame, Long, Lowercased, NoEdns, NoRoute, Notimp, Refused, Servfail,
        Silent, Truncated, Twice, WrongQuestion,
    };
    prop_oneof![
        10 => Just(Healthy),
        2 => Just(Silent),
        1 => Just(Servfail),
        1 => Just(Refused),
        1 => Just(Notimp),
        1 => Just(Lame),
        1 => Just(WrongQuestion),
        1 => Just(Lowercased),
        1 => Just(NoEdns),
        1 => Just(Truncated),
        1 => Just(Twice),
        1 => Just(Long),
        1 => Just(Closed),
        1 => Just(NoRoute),
    ]
}

pub fn link() -> impl Strategy<Value = Link> {
    let seldom = |percent| prop_oneof![3 => Just(0_u8), 1 => 1..percent];
    let rate = prop_oneof![5 => Just(None), 1 => (1..20_u8).prop_map(Some)];
    (delay(), behaviour(), seldom(60_u8), seldom(100_u8), rate).prop_map(
        |(delay, behaviour, loss, doubled, rate)| Link {
            delay,
            behaviour,
            loss,
            doubled,
            rate,
        },
    )
}
