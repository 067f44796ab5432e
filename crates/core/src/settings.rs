//! IAP settings, and how they are inherited: the nearest resource that sets one decides it.

use crate::resource::{ClientId, Resource};

/// Settings of one resource. What is `None` is inherited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Clients whose own ID tokens are accepted, beside those for the application's client.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/sharing-oauth-clients>
    pub programmatic_clients: Option<Vec<ClientId>>,
}

/// The clients that are accepted at a resource: those of the nearest node of its lineage that sets any.
pub fn programmatic_clients<'a>(
    resource: &Resource,
    settings: impl Fn(&Resource) -> Option<&'a Settings>,
) -> Vec<ClientId> {
    let nearest = resource.lineage().iter().find_map(|node| settings(node)?.programmatic_clients.as_ref());
    nearest.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_node_that_sets_clients_decides() {
        let clients = |names: &[&str]| Settings {
            programmatic_clients: Some(names.iter().map(|name| ClientId((*name).to_owned())).collect()),
        };
        let service = Resource::Service { service_id: "7".into() };
        let (unset, web, own, none) = (Settings::default(), clients(&["web"]), clients(&["own"]), clients(&[]));
        #[rustfmt::skip]
        let cases = [
            (vec![],                                                  ""),
            (vec![(Resource::Web, &web)],                             "web"),
            (vec![(Resource::Web, &web), (service.clone(), &unset)],  "web"),
            (vec![(Resource::Web, &web), (service.clone(), &own)],    "own"),
            (vec![(Resource::Web, &web), (service.clone(), &none)],   ""),
        ];
        for (stored, expected) in cases {
            let found = programmatic_clients(&service, |node| {
                stored.iter().find(|(resource, _)| resource == node).map(|(_, settings)| *settings)
            });
            let names: Vec<&str> = found.iter().map(|client| client.0.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{stored:?}");
        }
    }
}
