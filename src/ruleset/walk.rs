//! Leads a packet through the rules of others and notes what is done to it: pure.

use super::expr::{Expr, Field};
use super::{Base, Place, Rule, Ruleset};

/// As deep as nf_tables itself goes (NFT_JUMP_STACK_SIZE).
const MAX_DEPTH: usize = 16;
/// A ruleset of more rules than this is not followed to its end.
const MAX_RULES: usize = 20_000;
/// The 16 registers of 4 bytes, which four of 16 bytes share.
const REGISTERS: usize = 16;

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
    /// The chain that the kernel runs.
    pub base: Base,
    /// The chain that the rule is in.
    pub place: Place,
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
        if ![inet, packet.family].contains(&base.place.0) {
            continue;
        }
        if walk.chain(base, &base.place.2, true, 0) == End::Dropped {
            break;
        }
    }
    walk.deeds
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
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
    base: &'a Base,
    place: &'a Place,
    handle: u64,
    /// Whether it is certain that it comes here.
    certain: bool,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, base: &'a Base, name: &str, certain: bool, depth: usize) -> End {
        let place = (base.place.0, base.place.1.clone(), name.to_owned());
        let ruleset = self.ruleset;
        let Some((place, rules)) = ruleset.rules.get_key_value(&place) else {
            return End::Through;
        };
        for rule in rules {
            self.rules += 1;
            if depth >= MAX_DEPTH || self.rules > MAX_RULES {
                break;
            }
            let at = At {
                base,
                place,
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
    fn rule(&mut self, mut at: At<'a>, rule: &'a Rule) -> Option<End> {
        let mut registers = Registers::default();
        for expr in &rule.exprs {
            let matches = match self.condition(expr, &registers) {
                Some(matches) => matches,
                None => {
                    if self.load(expr, &mut registers) {
                        continue;
                    }
                    // What may not have happened ends nothing.
                    match self.deed(at, expr, &registers).filter(|_| at.certain) {
                        Some(end) => return Some(end),
                        None => continue,
                    }
                }
            };
            match matches {
                Some(true) => {}
                Some(false) => return None,
                None => at.certain = false,
            }
        }
        None
    }

    /// Whether the packet fulfils it, if that can be told; none where it is no
    /// condition.
    fn condition(&self, expr: &Expr, registers: &Registers) -> Option<Option<bool>> {
        Some(match expr {
            Expr::Compare {
                register,
                inverted,
                data,
            } => {
                let value = registers.get(*register, data.len());
                value.map(|value| (value == *data) != *inverted)
            }
            Expr::Lookup {
                register,
                inverted,
                among,
                ..
            } => among.as_ref().and_then(|among| {
                let length = among.first().map_or(0, Vec::len);
                let value = registers.get(*register, length)?;
                Some(among.contains(&value) != *inverted)
            }),
            Expr::MatchMark {
                value,
                mask,
                inverted,
            } => self.mark.map(|mark| (mark & mask == *value) != *inverted),
            Expr::Unknown { register: None } => None,
            _ => return None,
        })
    }

    /// Fills a register; false where it does something else.
    fn load(&self, expr: &Expr, registers: &mut Registers) -> bool {
        match expr {
            Expr::Load { what, register } => registers.set(*register, self.field(*what)),
            Expr::Immediate { data, register } => registers.set(*register, Some(data.clone())),
            Expr::Bitwise {
                from,
                to,
                mask,
                xor,
            } => {
                let value = registers.get(*from, mask.len()).map(|value| {
                    let bits = value.iter().zip(mask).zip(xor);
                    bits.map(|((byte, mask), xor)| byte & mask ^ xor).collect()
                });
                registers.set(*to, value);
            }
            Expr::Unknown {
                register: Some(register),
            } => registers.set(*register, None),
            Expr::Nothing => {}
            _ => return false,
        }
        true
    }

    /// What it does to the packet, and whether that ends the chain.
    fn deed(&mut self, at: At<'a>, expr: &'a Expr, registers: &Registers) -> Option<End> {
        let port = |register: &Option<u32>| {
            let bytes = registers.get((*register)?, 2)?;
            Some(u16::from_be_bytes(bytes.try_into().ok()?))
        };
        match expr {
            Expr::Redirect { register } | Expr::Dnat { register } => {
                self.note(at, What::Redirect(port(register)));
                Some(End::Accepted)
            }
            Expr::RedirectOfIptables { port } => {
                self.note(at, What::Redirect(*port));
                Some(End::Accepted)
            }
            Expr::NoTrack => {
                self.note(at, What::NoTrack);
                None
            }
            Expr::SetMark { register } => {
                let mark = registers.get(*register, 4);
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
                    End::Through if *back => None,
                    end => Some(end),
                }
            }
            _ => None,
        }
    }

    fn note(&mut self, at: At, what: What) {
        self.deeds.push(Deed {
            what,
            certain: at.certain,
            base: at.base.clone(),
            place: at.place.clone(),
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
        let number = |number: u32| number.to_ne_bytes().to_vec();
        match what {
            Field::Mark => self.mark.map(number),
            Field::Uid => packet.uid.map(number),
            Field::Gid => packet.gid.map(number),
            // 4 bytes, of which the first counts.
            Field::Family => Some(vec![packet.family, 0, 0, 0]),
            Field::Protocol => Some(vec![packet.protocol, 0, 0, 0]),
            Field::Device => packet.device.as_ref().map(|name| {
                let mut bytes = name.clone().into_bytes();
                bytes.resize(16, 0);
                bytes
            }),
            // The ports are where they are in TCP and UDP alike.
            Field::Transport(2, 2) => Some([packet.port.to_be_bytes(), [0; 2]].concat()),
            Field::Transport(..) => None,
            Field::FlowMark => Some(number(0)),
            Field::Destination => packet.destination.clone(),
        }
    }
}

/// Registers, by words of 4 bytes.
#[derive(Default)]
struct Registers([Option<[u8; 4]>; REGISTERS]);

impl Registers {
    /// The first word of a register: 1 to 4 are of 16 bytes, from 8 on of 4
    /// (NFT_REG_1, NFT_REG32_00).
    fn first(register: u32) -> usize {
        match register {
            0..=4 => register.saturating_sub(1) as usize * 4,
            _ => register.saturating_sub(8) as usize,
        }
    }

    fn set(&mut self, register: u32, value: Option<Vec<u8>>) {
        let words = self.0.iter_mut().skip(Self::first(register));
        match value {
            None => {
                for word in words.take(4) {
                    *word = None;
                }
            }
            Some(value) => {
                for (word, bytes) in words.zip(value.chunks(4)) {
                    let mut whole = [0; 4];
                    whole[..bytes.len()].copy_from_slice(bytes);
                    *word = Some(whole);
                }
            }
        }
    }

    fn get(&self, register: u32, length: usize) -> Option<Vec<u8>> {
        let words = self.0.iter().skip(Self::first(register));
        let words: Option<Vec<[u8; 4]>> = words.take(length.div_ceil(4)).copied().collect();
        let mut bytes = words?.concat();
        bytes.truncate(length);
        (bytes.len() == length).then_some(bytes)
    }
}

#[cfg(test)]
mod tests;
