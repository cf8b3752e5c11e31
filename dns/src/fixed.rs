//! Records that the operator wrote down, in a master file (RFC 1035 §5).
//!
//! It knows files. What becomes of the records is the zone's affair.

use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordSet, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_proto::serialize::txt::Parser;
use portolan_config::Fault;
use portolan_config::settings::Dns;

use crate::names::MAX_NAME;
use crate::records::{Builder, RrSet};
use crate::watched::Watched;

/// The owner's whole name in lower-case wire form, root included; and what it has of one type.
type Owned = (Vec<u8>, Arc<RrSet>);

/// The records of one file.
#[derive(Debug, Default)]
pub struct Fixed {
    pub(crate) sets: Vec<Owned>,
}

/// The file, looked at again and again.
#[derive(Debug)]
pub struct Records {
    settings: Dns,
    file: Option<Watched>,
    fault: Option<Fault>,
}

impl Records {
    /// The file that the settings name, and what is in it at present.
    ///
    /// # Errors
    ///
    /// As [`Fixed::read`].
    pub fn read(settings: &Dns) -> Result<(Self, Fixed), String> {
        let file = settings.options.records.as_deref().map(Watched::new);
        let fixed = Fixed::read(settings)?;
        Ok((Self { settings: settings.clone(), file, fault: None }, fixed))
    }

    /// What is in the file, if that is other than it was. Where it can't be read, nothing is; [`Records::fault`] says
    /// why until it can.
    pub fn look(&mut self) -> Option<Fixed> {
        let file = self.file.as_mut()?;
        if !file.has_changed() {
            return None;
        }
        let path = file.path().display().to_string();
        match Fixed::read(&self.settings) {
            Ok(fixed) => {
                self.fault = None;
                tracing::info!(path, "records are read again");
                Some(fixed)
            }
            Err(error) => {
                let error = error.trim_start_matches(&format!("--dns-records: {path}: "));
                let message = format!("the records are as they were before: {error}");
                self.fault = Some(Fault::new(path, "--dns-records", message));
                None
            }
        }
    }

    /// What is wrong with the file at present.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }
}

impl Fixed {
    /// Reads the file that the settings name, if they name one. Errors name the file and say what is wrong.
    pub fn read(settings: &Dns) -> Result<Self, String> {
        let Some(path) = &settings.options.records else { return Ok(Self::default()) };
        let fault = |error: &dyn std::fmt::Display| format!("--dns-records: {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
        Self::parse(&text, Some(path), settings).map_err(|error| fault(&error))
    }

    pub(crate) fn parse(text: &str, path: Option<&Path>, settings: &Dns) -> Result<Self, String> {
        // Names without a final dot are the zone's; a record that says no time to live has the zone's.
        let text = format!("$TTL {}\n{text}\n", settings.ttl.as_secs());
        let origin = Name::from_ascii(format!("{}.", settings.zone)).map_err(|error| error.to_string())?;
        let parser = Parser::new(text, path.map(Path::to_owned), Some(origin));
        let (_, sets) = parser.parse().map_err(|error| error.to_string())?;
        let sets = sets.values().map(read_set).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { sets: sets.into_iter().flatten().collect() })
    }
}

fn read_set(set: &RecordSet) -> Result<Option<Owned>, String> {
    if matches!(set.record_type(), RecordType::SOA | RecordType::NS) {
        return Err(format!("{} {}: the zone has its own", set.name(), set.record_type()));
    }
    let mut builder = Builder::new(set.record_type(), set.ttl()).rotated(0);
    for record in set.records_without_rrsigs() {
        let data = record.data.to_bytes().map_err(|error| format!("{record}: {error}"))?;
        builder.push(&[&data]);
    }
    let mut name = Vec::with_capacity(MAX_NAME);
    for label in set.name() {
        name.push(label.len() as u8);
        name.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    name.push(0);
    Ok(builder.build().map(|set| (name, Arc::new(set))))
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType::{A, CNAME, MX, TXT};

    use super::*;
    use crate::test_support::{container, data, settings, snapshot, verdict};
    use crate::zone::{Compiler, Zone};

    fn zone(text: &str) -> Zone {
        let fixed = Fixed::parse(text, None, &settings()).unwrap();
        let world =
            snapshot([container("web", "10.0.0.1").compose("shop", "web"), container("db", "10.0.0.2")]);
        Compiler::with_records(&settings(), &fixed).compile(&world).0
    }

    #[test]
    fn records_stand_beside_those_of_containers() {
        let zone = zone(
            "printer 60 IN A 192.0.2.9\nprinter IN A 192.0.2.10\n@ IN MX 10 mail\nmail A 192.0.2.11\n\
             web IN TXT \"by hand\"\nWWW IN CNAME web\nhost.lan. IN A 192.0.2.12\n",
        );
        assert_eq!(zone.get("printer", A), ["192.0.2.10", "192.0.2.9"]);
        assert_eq!(zone.ask("mail", A).answers[0].ttl, 2, "unless written, the zone's");
        assert_eq!(zone.get("", MX), ["10 mail.portolan.internal."]);
        assert_eq!(zone.get("web", A), ["10.0.0.1"]);
        assert_eq!(zone.get("web", TXT), ["by hand"]);
        assert_eq!(zone.get("host.lan.", A), ["192.0.2.12"]);
        assert_eq!(verdict(&zone.ask("host.lan.", MX)), "NoError SOA");
        assert_eq!(verdict(&zone.ask("other.lan.", A)), "Refused");
    }

    #[test]
    fn an_alias_is_followed_within_the_zone() {
        let zone = zone(
            "a CNAME b\nb CNAME web\nround CNAME about\nabout CNAME round\nout CNAME www.example.\ngone CNAME nosuch\n",
        );
        assert_eq!(
            data(&zone.ask("a", A).answers),
            ["b.portolan.internal.", "web.portolan.internal.", "10.0.0.1"]
        );
        let names: Vec<String> =
            zone.ask("a", A).answers.iter().map(|record| record.name.to_ascii()).collect();
        assert_eq!(names, ["a.portolan.internal.", "b.portolan.internal.", "web.portolan.internal."]);
        assert_eq!(data(&zone.ask("a", CNAME).answers), ["b.portolan.internal."]);
        assert_eq!(data(&zone.ask("out", A).answers), ["www.example."]);
        assert_eq!(
            verdict(&zone.ask("gone", A)),
            "NXDomain SOA with answers",
            "the code is the last name's (RFC 6604)"
        );
        assert_eq!(verdict(&zone.ask("b", MX)), "NoError SOA with answers");
        assert!(zone.ask("round", A).answers.len() >= 2, "it ends");
    }

    #[test]
    fn a_wildcard_answers_for_what_does_not_exist_below_its_own_name() {
        let zone = zone(
            "*.apps A 192.0.2.1\nfixed.apps A 192.0.2.2\n*.web TXT \"any\"\n*.lan. A 192.0.2.3\nx.y.deep A 192.0.2.4\n*.deep A 192.0.2.5\n",
        );
        for (name, expected) in [
            ("new.apps", "192.0.2.1"),
            ("a.b.apps", "192.0.2.1"),
            ("fixed.apps", "192.0.2.2"),
            ("nas.lan.", "192.0.2.3"),
            ("other.deep", "192.0.2.5"),
        ] {
            let reply = zone.ask(name, A);
            assert_eq!(data(&reply.answers), [expected], "{name}");
            assert_eq!(reply.answers[0].name, *reply.queries[0].name(), "{name}");
        }
        for (name, expected) in [
            ("apps", "NoError SOA"),
            ("new.apps", "NoError SOA"),
            // What exists stops it, also where it has nothing (RFC 4592 §2.2.1, §3.3.1).
            ("below.fixed.apps", "NXDomain SOA"),
            ("y.deep", "NoError SOA"),
            ("z.y.deep", "NXDomain SOA"),
            ("lan.", "Refused"),
        ] {
            let kind = if name == "new.apps" { MX } else { A };
            assert_eq!(verdict(&zone.ask(name, kind)), expected, "{name}");
        }
        assert_eq!(verdict(&zone.ask("x.web", TXT)), "NoError with answers");
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_a_faulty_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let mut settings = settings();
        settings.options.records = Some(path.clone());
        std::fs::write(
            &path,
            "printer A 192.0.2.9\n*.apps A 192.0.2.1\nns TXT \"ours\"\nweb TXT \"by hand\"\n",
        )
        .unwrap();
        let (mut records, fixed) = Records::read(&settings).unwrap();
        let mut compiler = Compiler::with_records(&settings, &fixed).serials_from(7);
        let world = snapshot([container("web", "10.0.0.1")]);
        let before = compiler.compile(&world).0;
        assert_eq!(before.get("any.apps", A), ["192.0.2.1"]);
        assert!(records.look().is_none(), "it is as it was");

        std::fs::write(&path, "printer A not-an-address\n").unwrap();
        assert!(records.look().is_none());
        let fault = records.fault().unwrap().to_string();
        assert!(fault.contains("records: --dns-records: the records are as they were before"), "{fault}");

        std::fs::write(&path, "printer A 192.0.2.10\nscanner.lan. A 192.0.2.11\n").unwrap();
        compiler.replace_records(&records.look().unwrap());
        assert!(records.fault().is_none());
        let after = compiler.compile(&world).0;
        assert_eq!(after.get("printer", A), ["192.0.2.10"]);
        assert_eq!(after.get("scanner.lan.", A), ["192.0.2.11"]);
        assert_eq!(verdict(&after.ask("any.apps", A)), "NXDomain SOA");
        assert_eq!(
            verdict(&after.ask("ns", TXT)),
            "NoError SOA",
            "our own name stays, without the operator's word"
        );
        assert_eq!(after.get("ns", A), ["127.0.0.1"]);
        assert_eq!(after.get("web", A), ["10.0.0.1"]);
        assert_ne!(after.get("web", TXT), ["by hand"]);
        assert!(after.serial() > before.serial(), "secondaries are told");
        assert_eq!(compiler.compile(&world).0.serial(), after.serial());
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        for text in ["web IN A not-an-address", "@ IN NS elsewhere.", "web IN NONSENSE x"] {
            assert!(Fixed::parse(text, None, &settings()).is_err(), "{text}");
        }
    }
}
