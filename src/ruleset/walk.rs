//! Leads a packet through the rules of others and notes what is done to it: pure.

use super::expr::{Expr, Field};
use super::{Base, OUTPUT, Place, Rule, Ruleset};

/// As deep as nf_tables itself goes (NFT_JUMP_STACK_SIZE).
const MAX_DEPTH: usize = 16;
/// A ruleset of more rules than this is not followed to its end.
const MAX_RULES: usize = 20_000;
/// The bytes of all registers: 16 of 4, which four of 16 share.
const REGISTERS: usize = 64;

/// A packet that this node sends. What is not known is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// NFPROTO_IPV4 or NFPROTO_IPV6.
    pub family: u8,
    /// IPPROTO_UDP or IPPROTO_TCP.
    pub protocol: u8,
    /// Its destination port.
    pub port: u16,
    /// Its destination, 4 or 16 bytes.
    pub destination: Option<Vec<u8>>,
    /// The device that it leaves through.
    pub device: Option<String>,
    /// The user of its socket.
    pub uid: Option<u32>,
    /// The group of its socket.
    pub gid: Option<u32>,
    /// Its mark.
    pub mark: u32,
}

/// Something that a rule does to the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub what: What,
    /// Whether that is certain: all that the rule asks for is known, and fits.
    pub certain: bool,
    /// Whether that happens before the way is found: at the hook output.
    pub in_output: bool,
    /// The priority of the chain that the kernel runs.
    pub priority: i32,
    /// Family of the rule's table (NFPROTO_*).
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Its handle.
    pub handle: u64,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Sends it to another port or address; the port, where it is known.
    Redirect(Option<u16>),
    /// Gives it another mark; which, where that is known.
    Mark(Option<u32>),
    /// Hides it from conntrack.
    NoTrack,
    /// Drops it.
    Drop,
}

/// All that is done to the packet, in order.
#[must_use]
pub fn walk(ruleset: &Ruleset, packet: &Packet) -> Vec<Deed> {
    let mut walk = Walk {
        ruleset,
        packet,
        mark: Some(packet.mark),
        rules: 0,
        deeds: Vec::new(),
    };
    for base in &ruleset.bases {
        let inet = nftnl::nftnl_sys::libc::NFPROTO_INET as u8;
        if ![inet, packet.family].contains(&base.place.family) {
            continue;
        }
        if walk.chain(base, base.place.name, true, 0) == End::Dropped {
            break;
        }
    }
    walk.deeds
}

struct Walk<'a> {
    ruleset: &'a Ruleset<'a>,
    packet: &'a Packet,
    mark: Option<u32>,
    rules: usize,
    deeds: Vec<Deed>,
}

/// How a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At its end, or with `return`.
    Through,
    /// The base chain is over.
    Accepted,
    /// The packet is.
    Dropped,
}

/// Where in the ruleset the packet is.
#[derive(Clone, Copy)]
struct At<'a> {
    base: &'a Base<'a>,
    place: Place<'a>,
    handle: u64,
    /// Whether it is certain that it comes here.
    certain: bool,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, base: &'a Base<'a>, name: &[u8], certain: bool, depth: usize) -> End {
        let place = Place { name, ..base.place };
        let ruleset = self.ruleset;
        let Some(chain) = ruleset.chains.iter().find(|one| one.place == place) else {
            return End::Through;
        };
        for rule in &chain.rules {
            self.rules += 1;
            if depth >= MAX_DEPTH || self.rules > MAX_RULES {
                break;
            }
            let at = At {
                base,
                place: chain.place,
                handle: rule.handle,
                certain,
                depth,
            };
            if let Some(end) = self.rule(at, rule) {
                return end;
            }
        }
        End::Through
    }

    /// None: on with the next rule.
    fn rule(&mut self, mut at: At<'a>, rule: &'a Rule<'a>) -> Option<End> {
        let mut registers = Registers::default();
        for &expr in &rule.exprs {
            match self.condition(at, expr, &registers) {
                Some(Some(true)) => {}
                Some(Some(false)) => return None,
                Some(None) => at.certain = false,
                None if self.load(expr, &mut registers) => {}
                None => {
                    let end = self.deed(at, expr, &registers);
                    // What may not have happened ends nothing.
                    if at.certain && end.is_some() {
                        return end;
                    }
                }
            }
        }
        None
    }

    /// Whether the packet fulfils it, if that can be told; none where it is no
    /// condition.
    fn condition(&self, at: At, expr: Expr, registers: &Registers) -> Option<Option<bool>> {
        Some(match expr {
            Expr::Compare {
                register,
                inverted,
                data,
            } => {
                let value = registers.get(register, data.len());
                value.map(|value| (value == data) != inverted)
            }
            Expr::Lookup {
                register,
                inverted,
                set,
            } => {
                let place = Place {
                    name: set,
                    ..at.place
                };
                let set = self.ruleset.sets.iter().find(|set| set.place == place);
                set.and_then(|set| {
                    let length = set.elements.first().map_or(0, |key| key.len());
                    let value = registers.get(register, length)?;
                    Some(set.elements.contains(&value) != inverted)
                })
            }
            Expr::MatchMark {
                value,
                mask,
                inverted,
            } => self.mark.map(|mark| (mark & mask == value) != inverted),
            Expr::Unknown { register: None } => None,
            _ => return None,
        })
    }

    /// Fills a register; false where it does something else.
    fn load(&self, expr: Expr, registers: &mut Registers) -> bool {
        match expr {
            Expr::Load { what, register } => registers.set(register, self.field(what).as_deref()),
            Expr::Immediate { data, register } => registers.set(register, Some(data)),
            Expr::Bitwise {
                from,
                to,
                mask,
                xor,
            } => {
                let mut value = registers.get(from, mask.len()).map(<[u8]>::to_vec);
                for (byte, (mask, xor)) in value.iter_mut().flatten().zip(mask.iter().zip(xor)) {
                    *byte = *byte & mask ^ xor;
                }
                registers.set(to, value.as_deref());
            }
            Expr::Unknown {
                register: Some(register),
            } => registers.set(register, None),
            Expr::Nothing => {}
            _ => return false,
        }
        true
    }

    /// What it does to the packet, and whether that ends the chain.
    fn deed(&mut self, at: At<'a>, expr: Expr, registers: &Registers) -> Option<End> {
        let port = |register: Option<u32>| {
            let bytes = registers.get(register?, 2)?;
            Some(u16::from_be_bytes(bytes.try_into().ok()?))
        };
        match expr {
            Expr::Redirect { register } => {
                self.note(at, What::Redirect(port(register)));
                Some(End::Accepted)
            }
            Expr::RedirectOfIptables { port } => {
                self.note(at, What::Redirect(port));
                Some(End::Accepted)
            }
            Expr::NoTrack => {
                self.note(at, What::NoTrack);
                None
            }
            Expr::SetMark { register } => {
                let mark = registers.get(register, 4);
                let mark = mark.and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)));
                self.set_mark(at, mark)
            }
            Expr::ChangeMark { clear, turn } => {
                self.set_mark(at, self.mark.map(|mark| mark & !clear ^ turn))
            }
            Expr::Drop => {
                self.note(at, What::Drop);
                Some(End::Dropped)
            }
            Expr::Accept => Some(End::Accepted),
            Expr::Return => Some(End::Through),
            Expr::Call { chain, back } => {
                match self.chain(at.base, chain, at.certain, at.depth + 1) {
                    End::Through if back => None,
                    end => Some(end),
                }
            }
            _ => None,
        }
    }

    fn note(&mut self, at: At, what: What) {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        self.deeds.push(Deed {
            what,
            certain: at.certain,
            in_output: at.base.hook == OUTPUT,
            priority: at.base.priority,
            family: at.place.family,
            table: text(at.place.table),
            chain: text(at.place.name),
            handle: at.handle,
        });
    }

    fn set_mark(&mut self, at: At, mark: Option<u32>) -> Option<End> {
        if mark.is_none() || mark != self.mark {
            self.note(at, What::Mark(mark));
            self.mark = mark.filter(|_| at.certain);
        }
        None
    }

    /// What is known of the packet, as nf_tables puts it into a register.
    fn field(&self, what: Field) -> Option<Vec<u8>> {
        let packet = self.packet;
        let bytes = match what {
            Field::Mark => self.mark?.to_ne_bytes(),
            Field::Uid => packet.uid?.to_ne_bytes(),
            Field::Gid => packet.gid?.to_ne_bytes(),
            // 4 bytes, of which the first counts.
            Field::Family => [packet.family, 0, 0, 0],
            Field::Protocol => [packet.protocol, 0, 0, 0],
            Field::Device => {
                let mut bytes = packet.device.clone()?.into_bytes();
                bytes.resize(16, 0);
                return Some(bytes);
            }
            // The ports are where they are in TCP and UDP alike.
            Field::Transport(2, 2) => {
                let [high, low] = packet.port.to_be_bytes();
                [high, low, 0, 0]
            }
            Field::Transport(..) => return None,
            Field::FlowMark => [0; 4],
            Field::Destination => return packet.destination.clone(),
        };
        Some(bytes.to_vec())
    }
}

/// The registers, byte by byte, and which of these are known.
struct Registers {
    bytes: [u8; REGISTERS],
    known: [bool; REGISTERS],
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            bytes: [0; REGISTERS],
            known: [false; REGISTERS],
        }
    }
}

impl Registers {
    /// The first byte of a register: 1 to 4 are of 16 bytes, from 8 on of 4
    /// (NFT_REG_1, NFT_REG32_00).
    fn first(register: u32) -> usize {
        match register {
            0..=4 => register.saturating_sub(1) as usize * 16,
            _ => register.saturating_sub(8) as usize * 4,
        }
    }

    /// What is not known may be as long as a register is.
    fn set(&mut self, register: u32, value: Option<&[u8]>) {
        let length = value.map_or(16, |value| value.len().next_multiple_of(4));
        let registers = self.bytes.iter_mut().zip(&mut self.known);
        let written = registers.skip(Self::first(register)).take(length);
        for (at, (byte, known)) in written.enumerate() {
            *byte = value.and_then(|value| value.get(at).copied()).unwrap_or(0);
            *known = value.is_some();
        }
    }

    fn get(&self, register: u32, length: usize) -> Option<&[u8]> {
        let first = Self::first(register);
        let range = first..first.checked_add(length)?;
        let known = self.known.get(range.clone())?;
        known.iter().all(|&known| known).then_some(())?;
        self.bytes.get(range)
    }
}

#[cfg(test)]
mod tests;
