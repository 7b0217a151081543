//! What netifd says of its interfaces, over ubus. The client is OpenWrt's own
//! program: another one of our own would cost more flash than it is worth.

use std::time::{Duration, Instant};

use crate::child::{self, Limits, Stream};
use crate::output::read::Value;

/// As long as it is waited for at most.
const TIME: Duration = Duration::from_millis(600);
/// netifd knows a dozen interfaces, of some kilobytes each.
const MAX_ANSWER: usize = 1024 * 1024;

/// An interface of netifd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The device that packets go through, and the one below it.
    pub devices: Vec<String>,
    /// The servers that it gives to the primary resolver.
    pub servers: Vec<String>,
}

/// All interfaces; none where there is no netifd that answers until then.
pub fn interfaces(until: Instant) -> Option<Vec<Interface>> {
    let words = [c"ubus", c"-t", c"1", c"call", c"network.interface", c"dump"];
    let limits = Limits {
        time: TIME.min(until.saturating_duration_since(Instant::now())),
        bytes: MAX_ANSWER,
    };
    let answer = child::ask(&words, Stream::Out, limits).ok()?;
    let said = answer.end.is_success().then_some(answer.said)?;
    let dump = Value::read(&String::from_utf8(said).ok()?)?;
    Some(all(&dump))
}

fn all(dump: &Value) -> Vec<Interface> {
    let mut interfaces = Vec::new();
    for value in dump.get("interface").map_or(&[][..], Value::items) {
        let Some(name) = word(value, "interface") else {
            continue;
        };
        let mut found = Interface {
            name,
            ..Interface::default()
        };
        found.devices.extend(word(value, "l3_device"));
        found.devices.extend(word(value, "device"));
        for server in value.get("dns-server").map_or(&[][..], Value::items) {
            found.servers.extend(server.text().map(str::to_owned));
        }
        interfaces.push(found);
    }
    interfaces
}

fn word(value: &Value, name: &str) -> Option<String> {
    Some(value.get(name)?.text()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_as_netifd_has_it() {
        let dump = r#"{"interface":[
            {"interface":"wan","up":true,"l3_device":"pppoe-wan","proto":"pppoe","device":"eth0",
             "dns-server":["192.0.2.1","192.0.2.2"],"inactive":{"dns-server":[]},"data":{}},
            {"interface":"wan6","up":false,"device":"br-wan","metric":-1,"x":1.5e3,
             "dns-server":[],"inactive":{"dns-server":["fe80::1"]}},
            {"up":true}
        ]}"#;
        let dump = Value::read(dump).unwrap();
        let found = all(&dump);
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(found[0].name, "wan");
        assert_eq!(found[0].devices, words(&["pppoe-wan", "eth0"]));
        assert_eq!(found[0].servers, words(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!((found[1].devices.len(), found[1].servers.len()), (1, 0));
        assert_eq!(found.len(), 2);
    }
}
