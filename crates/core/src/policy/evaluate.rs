//! The decision: does a caller hold a permission on a resource?

use std::collections::HashMap;

use super::{Permission, Policy, Role};
use crate::member::{Email, Member};
use crate::resource::Resource;

/// Who asks, as policies see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// A person.
    User(&'a Email),
    /// A program.
    ServiceAccount(&'a Email),
    /// Somebody from elsewhere: the members that they match, the most specific first. Never one of
    /// `allAuthenticatedUsers`, which means accounts of ours.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/principals-overview#all-authenticated-users>
    Foreign(&'a [Member]),
    /// Nobody was proven.
    Anonymous,
}

/// The binding that let somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Where the binding stands.
    pub resource: Resource,
    /// What it gives.
    pub role: Role,
    /// The member of it that matched.
    pub member: Member,
}

/// The members who hold one permission on one resource, each with the binding that says so: its own policy and those above it,
/// merged, so that a decision costs a few look-ups.
#[derive(Debug, Default)]
pub struct Grants(HashMap<Member, Granted>);

impl Grants {
    /// Merges the policies of `resource` and everything above it, as far as their roles give `permission`. Where several bindings name a member, the nearest one
    /// is the one reported.
    pub fn merge<'a>(
        resource: &Resource,
        permission: Permission,
        policy: impl Fn(&Resource) -> Option<&'a Policy>,
    ) -> Self {
        let mut grants = HashMap::new();
        for resource in resource.lineage() {
            let bindings = policy(&resource).map_or(&[][..], |policy| &policy.bindings);
            for binding in bindings.iter().filter(|binding| binding.role.permissions().contains(&permission)) {
                for member in &binding.members {
                    let granted = Granted { resource: resource.clone(), role: binding.role, member: member.clone() };
                    grants.entry(member.clone()).or_insert(granted);
                }
            }
        }
        Grants(grants)
    }

    /// The binding that admits `principal`, if there is one. The most specific member is reported.
    pub fn admits(&self, principal: Principal<'_>) -> Option<&Granted> {
        let named = match principal {
            Principal::User(email) => self
                .0
                .get(&Member::User(email.clone()))
                .or_else(|| self.0.get(&Member::Domain(email.domain().to_owned()))),
            Principal::ServiceAccount(email) => self.0.get(&Member::ServiceAccount(email.clone())),
            Principal::Foreign(members) => members.iter().find_map(|member| self.0.get(member)),
            Principal::Anonymous => None,
        };
        let authenticated = || match principal {
            Principal::User(_) | Principal::ServiceAccount(_) => self.0.get(&Member::AllAuthenticatedUsers),
            Principal::Foreign(_) | Principal::Anonymous => None,
        };
        named.or_else(authenticated).or_else(|| self.0.get(&Member::AllUsers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Binding, PolicyEtag};

    /// The whole decision as a picture: a row for each caller, a column for each policy.
    fn matrix(policies: &[&[(Resource, &str)]], callers: &[(&str, Option<&str>)]) -> String {
        let service = Resource::Service { service_id: "7".into() };
        let grants: Vec<Grants> = policies
            .iter()
            .map(|bindings| {
                let mut stored: HashMap<Resource, Policy> = HashMap::new();
                for (resource, members) in *bindings {
                    let members = members.split(' ').map(|m| m.parse().unwrap()).collect();
                    let binding = Binding { role: Role::HttpsResourceAccessor, members };
                    let policy =
                        stored.entry(resource.clone()).or_insert(Policy { bindings: vec![], etag: PolicyEtag(1) });
                    policy.bindings.push(binding);
                }
                Grants::merge(&service, Permission::AccessViaIap, |resource| stored.get(resource))
            })
            .collect();
        let mut picture = String::new();
        for (kind, email) in callers {
            let email: Option<Email> = email.map(|email| email.parse().unwrap());
            let principal = match (*kind, &email) {
                ("user", Some(email)) => Principal::User(email),
                ("service", Some(email)) => Principal::ServiceAccount(email),
                _ => Principal::Anonymous,
            };
            let row = grants.iter().map(|grants| {
                grants.admits(principal).map_or("-".to_owned(), |granted| {
                    format!("{:?}", granted.resource).split(' ').next().unwrap().to_lowercase()
                })
            });
            let name = email.as_ref().map_or("nobody", |email| email.as_str());
            picture += &format!("{name:<16}{}\n", row.map(|cell| format!("{cell:<9}")).collect::<String>().trim_end());
        }
        picture
    }

    #[test]
    fn a_grant_reaches_the_service_from_its_own_node_and_every_node_above() {
        let service = || Resource::Service { service_id: "7".into() };
        let other = || Resource::Service { service_id: "8".into() };
        let picture = matrix(
            &[
                &[],
                &[(service(), "user:ann@x.com serviceAccount:r@p.co")],
                &[(Resource::Web, "domain:x.com"), (Resource::Project, "user:bob@y.com")],
                &[(Resource::Compute, "allAuthenticatedUsers")],
                &[(Resource::Project, "allUsers"), (service(), "user:ann@x.com")],
                &[(other(), "allUsers user:ann@x.com")],
            ],
            &[
                ("user", Some("ann@x.com")),
                ("user", Some("bob@y.com")),
                ("user", Some("r@p.co")),
                ("service", Some("r@p.co")),
                ("service", Some("s@x.com")),
                ("nobody", None),
            ],
        );
        #[rustfmt::skip]
        let expected = [
            "ann@x.com       -        service  web      compute  service  -",
            "bob@y.com       -        -        project  compute  project  -",
            "r@p.co          -        -        -        compute  project  -",
            "r@p.co          -        service  -        compute  project  -",
            "s@x.com         -        -        -        compute  project  -",
            "nobody          -        -        -        -        project  -",
        ];
        assert_eq!(picture, expected.join("\n") + "\n");
    }

    #[test]
    fn a_role_gives_its_permissions_on_the_account_it_is_bound_to_or_from_the_project_above() {
        use Permission as P;
        let account = |id: &str| Resource::ServiceAccount { unique_id: crate::account::UniqueId(id.to_owned()) };
        let binding =
            |role, members: &str| Binding { role, members: members.split(' ').map(|m| m.parse().unwrap()).collect() };
        let policy = |bindings: Vec<Binding>| Policy { bindings, etag: PolicyEtag(1) };
        let stored = HashMap::from([
            (
                account("1"),
                policy(vec![
                    binding(Role::ServiceAccountTokenCreator, "user:creator@x.com"),
                    binding(Role::ServiceAccountOpenIdTokenCreator, "user:openid@x.com"),
                    binding(Role::WorkloadIdentityUser, "user:workload@x.com"),
                ]),
            ),
            (
                Resource::Project,
                policy(vec![
                    binding(Role::ServiceAccountTokenCreator, "user:project@x.com"),
                    binding(Role::HttpsResourceAccessor, "user:visitor@x.com"),
                ]),
            ),
        ]);
        let permissions =
            [P::GetOpenIdToken, P::GetAccessToken, P::SignJwt, P::SignBlob, P::ImplicitDelegation, P::AccessViaIap];
        let mut picture = String::new();
        for name in ["creator", "openid", "workload", "project", "visitor"] {
            let email: Email = format!("{name}@x.com").parse().unwrap();
            let marks = |id: &str| -> String {
                let holds = |permission| {
                    Grants::merge(&account(id), permission, |resource| stored.get(resource))
                        .admits(Principal::User(&email))
                        .is_some()
                };
                permissions.iter().map(|permission| if holds(*permission) { '+' } else { '-' }).collect()
            };
            picture += &format!("{name:<10}{} {}\n", marks("1"), marks("2"));
        }
        #[rustfmt::skip]
        let expected = [
            "creator   +++++- ------",
            "openid    +----- ------",
            "workload  ++---- ------",
            "project   +++++- +++++-",
            "visitor   -----+ -----+",
        ];
        assert_eq!(picture, expected.join("\n") + "\n");
    }
}
