//! The configuration in force as a UCI file that explains itself: `uci commit` takes
//! the comments out of the one that people edit.

use std::fmt::Write;

use super::options::{self, SECTIONS, SETTINGS, Setting};
use super::{CONFIG_FILE, Config};

/// All options with their values, their defaults and what they are for. It is a file
/// that could stand in place of the one it was read from.
#[must_use]
pub fn whole(config: &Config) -> String {
    let defaults = Config::default();
    let mut text = format!("# What /etc/config/{CONFIG_FILE} comes to, with all defaults.\n");
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nconfig {section} '{section}'\n");
        for setting in options::of_section(section) {
            one(&mut text, setting, config, &defaults);
        }
    }
    text
}

fn one(text: &mut String, setting: &Setting, config: &Config, defaults: &Config) {
    let (values, usual) = (setting.values(config), setting.values(defaults));
    let usual = match usual.as_slice() {
        [] => "none".into(),
        _ if usual == values => "this".into(),
        usual => usual
            .iter()
            .map(|one| quoted(one))
            .collect::<Vec<_>>()
            .join(" "),
    };
    let _ = writeln!(text, "\t# {}. Default: {usual}", setting.help);
    let command = if setting.is_list() { "list" } else { "option" };
    for value in &values {
        let _ = writeln!(text, "\t{command} {} {}", setting.name, quoted(value));
    }
    if values.is_empty() {
        let _ = writeln!(text, "\t# {command} {}", setting.name);
    }
}

/// As UCI takes it, whatever is in it (libuci's `uci_print_value`).
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// What the resolver has from its start to its end, in one line: when that is
/// another one, it has to be started anew.
#[must_use]
pub fn fixed(config: &Config) -> String {
    let fixed = SETTINGS.iter().filter(|setting| setting.fixed);
    let shown = fixed.map(|setting| {
        let values = setting.values(config).join(",");
        format!("{}.{}={values}", setting.section, setting.name)
    });
    shown.collect::<Vec<_>>().join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Group, uci};
    use crate::scratch::Scratch;
    use std::path::PathBuf;

    #[test]
    fn what_is_shown_means_what_it_was_made_of() {
        let mut config = Config::default();
        config.redirect.groups = vec![Group::Id(7), Group::Name("x$".into())];
        config.redirect.include = None;
        config.routing.ipv4 = true;
        config.resolver.resolv_file = PathBuf::from("/tmp/it's here");
        let dir = Scratch::new();
        for config in [Config::default(), config] {
            std::fs::write(dir.join(CONFIG_FILE), whole(&config)).unwrap();
            assert_eq!(Config::load(&dir).unwrap(), config);
        }
    }

    #[test]
    fn every_option_is_shown_with_its_default() {
        let mut config = Config::default();
        config.resolver.port = 5454;
        let text = whole(&config);
        assert!(
            text.contains("leads to. Default: '54'\n\toption port '5454'\n"),
            "{text}"
        );
        assert!(
            text.contains("Default: this\n\tlist family 'ipv6'\n"),
            "{text}"
        );
        assert!(text.contains("Default: none\n\t# list device\n"), "{text}");
        let sections = uci::parse(&text).unwrap();
        let names = sections.iter().flat_map(|section| &section.options);
        let names: Vec<&str> = names.map(|option| option.name.as_str()).collect();
        let missing = SETTINGS.iter().filter(|one| !names.contains(&one.name));
        assert_eq!(missing.map(|one| one.name).collect::<Vec<_>>(), ["device"]);
    }

    #[test]
    fn what_is_fixed_differs_when_the_resolver_must_be_started_anew() {
        let before = fixed(&Config::default());
        assert_eq!(
            before,
            "routing.mark=0x1/0x1 resolver.listen=127.0.0.1,::1 resolver.port=54 \
             resolver.user=gluon-wan resolver.max_inflight=150\n"
        );
        let mut config = Config::default();
        config.routing.table = 7;
        assert_eq!(fixed(&config), before);
        config.routing.mark.value = 3;
        assert_ne!(fixed(&config), before);
    }
}
