//! What a container is a replica of, as its labels say.

use std::collections::BTreeMap;

use crate::instance::ServiceKey;

/// The key of a container with these labels that is called `name`.
pub(super) fn key(labels: &BTreeMap<String, String>, name: &str) -> ServiceKey {
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
    if let Some(service) = label("com.docker.swarm.service.name") {
        return ServiceKey::Swarm(service);
    }
    // `docker compose run` makes a container with the service's labels that nobody means to send requests to.
    let once = label("com.docker.compose.oneoff").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let compose = label("com.docker.compose.project").zip(label("com.docker.compose.service"));
    match compose {
        Some((project, service)) if !once => ServiceKey::Compose { project, service },
        Some(_) => ServiceKey::Container(name.to_owned()),
        None => label("portolan.service")
            .map_or_else(|| ServiceKey::Container(name.to_owned()), ServiceKey::Label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_the_service_in_a_fixed_order() {
        const PROJECT: (&str, &str) = ("com.docker.compose.project", "shop");
        const SERVICE: (&str, &str) = ("com.docker.compose.service", "web");
        const SWARM: (&str, &str) = ("com.docker.swarm.service.name", "shop_web");
        const OWN: (&str, &str) = ("portolan.service", "mine");
        let compose = ServiceKey::Compose { project: "shop".into(), service: "web".into() };
        let container = ServiceKey::Container("c".into());
        let cases = [
            (vec![], container.clone()),
            (vec![OWN], ServiceKey::Label("mine".into())),
            (vec![PROJECT, SERVICE, OWN], compose.clone()),
            (vec![PROJECT, SERVICE, SWARM], ServiceKey::Swarm("shop_web".into())),
            (vec![PROJECT, SERVICE, ("com.docker.compose.oneoff", "False")], compose),
            (vec![PROJECT, SERVICE, OWN, ("com.docker.compose.oneoff", "True")], container.clone()),
            (vec![SERVICE], container.clone()),
            (vec![("portolan.service", "")], container),
        ];
        for (labels, expected) in cases {
            let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(key(&labels, "c"), expected, "{labels:?}");
        }
    }
}
