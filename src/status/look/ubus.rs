//! What netifd says of its interfaces, over ubus. The client is OpenWrt's own
//! program: another one of our own would cost more flash than it is worth.

use std::time::Duration;

use crate::child::{self, Limits, Stream};
use crate::output::json::Value;

/// What `status` as a whole may take is a second; netifd knows a dozen interfaces,
/// of some kilobytes each.
const LIMITS: Limits = Limits {
    time: Duration::from_millis(600),
    bytes: 1024 * 1024,
};

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

/// All interfaces; none where there is no netifd that answers in time.
pub fn interfaces() -> Option<Vec<Interface>> {
    let text = ask()?;
    let dump = Value::read(&text)?;
    let interfaces = dump.get("interface")?.items();
    Some(interfaces.iter().filter_map(interface).collect())
}

fn interface(value: &Value) -> Option<Interface> {
    let word = |name: &str| value.get(name).and_then(Value::text).map(str::to_owned);
    let servers = value.get("dns-server").map_or(&[][..], Value::items).iter();
    Some(Interface {
        name: word("interface")?,
        devices: ["l3_device", "device"]
            .into_iter()
            .filter_map(word)
            .collect(),
        servers: servers.filter_map(Value::text).map(str::to_owned).collect(),
    })
}

fn ask() -> Option<String> {
    let words = [c"ubus", c"-t", c"1", c"call", c"network.interface", c"dump"];
    let answer = child::ask(&words, Stream::Out, LIMITS).ok()?;
    let said = answer.end.is_success().then_some(answer.said)?;
    String::from_utf8(said).ok()
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
        let found: Vec<_> = dump
            .get("interface")
            .unwrap()
            .items()
            .iter()
            .filter_map(interface)
            .collect();
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
