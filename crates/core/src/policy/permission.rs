//! What may be done: the table of permissions, and sets of them.

use std::fmt;
use std::str::FromStr;

macro_rules! permissions {
    ($($variant:ident $name:literal)*) => {
        /// One thing that may be done. A small number inside, so that sets of them are bits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Permission {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Permission {
            /// Every permission, in the order of the table.
            pub const ALL: &'static [Permission] = &[$(Permission::$variant),*];

            /// The name in roles and refusals.
            pub fn name(self) -> &'static str {
                match self { $(Permission::$variant => $name,)* }
            }
        }
    };
}

permissions! {
    AccessViaIap "iap.webServiceVersions.accessViaIAP"
    EgressViaIap "iap.webServiceVersions.egressViaIAP"
    RemediateWeb "iap.webServiceVersions.remediate"
    AccessInstanceViaIap "iap.tunnelInstances.accessViaIAP"
    RemediateInstance "iap.tunnelInstances.remediate"
    AccessDestGroupViaIap "iap.tunnelDestGroups.accessViaIAP"
    RemediateDestGroup "iap.tunnelDestGroups.remediate"

    GetOrganizationSettings "iap.organizations.getSettings"
    UpdateOrganizationSettings "iap.organizations.updateSettings"
    GetFolderSettings "iap.folders.getSettings"
    UpdateFolderSettings "iap.folders.updateSettings"
    GetProjectSettings "iap.projects.getSettings"
    UpdateProjectSettings "iap.projects.updateSettings"
    GetWebIamPolicy "iap.web.getIamPolicy"
    SetWebIamPolicy "iap.web.setIamPolicy"
    GetWebSettings "iap.web.getSettings"
    UpdateWebSettings "iap.web.updateSettings"
    GetWebTypeIamPolicy "iap.webTypes.getIamPolicy"
    SetWebTypeIamPolicy "iap.webTypes.setIamPolicy"
    GetWebTypeSettings "iap.webTypes.getSettings"
    UpdateWebTypeSettings "iap.webTypes.updateSettings"
    GetWebServiceIamPolicy "iap.webServices.getIamPolicy"
    SetWebServiceIamPolicy "iap.webServices.setIamPolicy"
    GetWebServiceSettings "iap.webServices.getSettings"
    UpdateWebServiceSettings "iap.webServices.updateSettings"
    GetWebServiceVersionIamPolicy "iap.webServiceVersions.getIamPolicy"
    SetWebServiceVersionIamPolicy "iap.webServiceVersions.setIamPolicy"
    GetWebServiceVersionSettings "iap.webServiceVersions.getSettings"
    UpdateWebServiceVersionSettings "iap.webServiceVersions.updateSettings"
    GetTunnelIamPolicy "iap.tunnel.getIamPolicy"
    SetTunnelIamPolicy "iap.tunnel.setIamPolicy"
    GetTunnelZoneIamPolicy "iap.tunnelZones.getIamPolicy"
    SetTunnelZoneIamPolicy "iap.tunnelZones.setIamPolicy"
    GetTunnelInstanceIamPolicy "iap.tunnelInstances.getIamPolicy"
    SetTunnelInstanceIamPolicy "iap.tunnelInstances.setIamPolicy"
    GetTunnelLocationIamPolicy "iap.tunnelLocations.getIamPolicy"
    SetTunnelLocationIamPolicy "iap.tunnelLocations.setIamPolicy"
    GetTunnelDestGroupIamPolicy "iap.tunnelDestGroups.getIamPolicy"
    SetTunnelDestGroupIamPolicy "iap.tunnelDestGroups.setIamPolicy"
    CreateTunnelDestGroup "iap.tunnelDestGroups.create"
    DeleteTunnelDestGroup "iap.tunnelDestGroups.delete"
    GetTunnelDestGroup "iap.tunnelDestGroups.get"
    ListTunnelDestGroups "iap.tunnelDestGroups.list"
    UpdateTunnelDestGroup "iap.tunnelDestGroups.update"

    GetAccessToken "iam.serviceAccounts.getAccessToken"
    GetOpenIdToken "iam.serviceAccounts.getOpenIdToken"
    ImplicitDelegation "iam.serviceAccounts.implicitDelegation"
    SignBlob "iam.serviceAccounts.signBlob"
    SignJwt "iam.serviceAccounts.signJwt"
    ActAs "iam.serviceAccounts.actAs"
    CreateServiceAccount "iam.serviceAccounts.create"
    DeleteServiceAccount "iam.serviceAccounts.delete"
    DisableServiceAccount "iam.serviceAccounts.disable"
    EnableServiceAccount "iam.serviceAccounts.enable"
    GetServiceAccount "iam.serviceAccounts.get"
    GetServiceAccountIamPolicy "iam.serviceAccounts.getIamPolicy"
    ListServiceAccounts "iam.serviceAccounts.list"
    SetServiceAccountIamPolicy "iam.serviceAccounts.setIamPolicy"
    UndeleteServiceAccount "iam.serviceAccounts.undelete"
    UpdateServiceAccount "iam.serviceAccounts.update"
    CreateServiceAccountKey "iam.serviceAccountKeys.create"
    DeleteServiceAccountKey "iam.serviceAccountKeys.delete"
    DisableServiceAccountKey "iam.serviceAccountKeys.disable"
    EnableServiceAccountKey "iam.serviceAccountKeys.enable"
    GetServiceAccountKey "iam.serviceAccountKeys.get"
    ListServiceAccountKeys "iam.serviceAccountKeys.list"
    CreateRole "iam.roles.create"
    DeleteRole "iam.roles.delete"
    GetRole "iam.roles.get"
    ListRoles "iam.roles.list"
    UndeleteRole "iam.roles.undelete"
    UpdateRole "iam.roles.update"
    CreateDenyPolicy "iam.denypolicies.create"
    DeleteDenyPolicy "iam.denypolicies.delete"
    GetDenyPolicy "iam.denypolicies.get"
    ListDenyPolicies "iam.denypolicies.list"
    UpdateDenyPolicy "iam.denypolicies.update"
    CreatePool "iam.workloadIdentityPools.create"
    DeletePool "iam.workloadIdentityPools.delete"
    GetPool "iam.workloadIdentityPools.get"
    ListPools "iam.workloadIdentityPools.list"
    UndeletePool "iam.workloadIdentityPools.undelete"
    UpdatePool "iam.workloadIdentityPools.update"
    CreatePoolProvider "iam.workloadIdentityPoolProviders.create"
    DeletePoolProvider "iam.workloadIdentityPoolProviders.delete"
    GetPoolProvider "iam.workloadIdentityPoolProviders.get"
    ListPoolProviders "iam.workloadIdentityPoolProviders.list"
    UndeletePoolProvider "iam.workloadIdentityPoolProviders.undelete"
    UpdatePoolProvider "iam.workloadIdentityPoolProviders.update"

    GetOrganization "resourcemanager.organizations.get"
    GetOrganizationIamPolicy "resourcemanager.organizations.getIamPolicy"
    SetOrganizationIamPolicy "resourcemanager.organizations.setIamPolicy"
    GetFolder "resourcemanager.folders.get"
    GetFolderIamPolicy "resourcemanager.folders.getIamPolicy"
    ListFolders "resourcemanager.folders.list"
    SetFolderIamPolicy "resourcemanager.folders.setIamPolicy"
    GetProject "resourcemanager.projects.get"
    GetProjectIamPolicy "resourcemanager.projects.getIamPolicy"
    ListProjects "resourcemanager.projects.list"
    SetProjectIamPolicy "resourcemanager.projects.setIamPolicy"
    UpdateProject "resourcemanager.projects.update"

    CreateBackendService "compute.backendServices.create"
    DeleteBackendService "compute.backendServices.delete"
    GetBackendService "compute.backendServices.get"
    ListBackendServices "compute.backendServices.list"
    UpdateBackendService "compute.backendServices.update"
    GetGlobalOperation "compute.globalOperations.get"
    GetComputeProject "compute.projects.get"
    GetRegionOperation "compute.regionOperations.get"
    GetAppEngineApplication "appengine.applications.get"
    UpdateAppEngineApplication "appengine.applications.update"
    CreateBrand "clientauthconfig.brands.create"
    DeleteBrand "clientauthconfig.brands.delete"
    GetBrand "clientauthconfig.brands.get"
    ListBrands "clientauthconfig.brands.list"
    UpdateBrand "clientauthconfig.brands.update"
    CreateClient "clientauthconfig.clients.create"
    CreateClientSecret "clientauthconfig.clients.createSecret"
    DeleteClient "clientauthconfig.clients.delete"
    GetClient "clientauthconfig.clients.get"
    GetClientWithSecret "clientauthconfig.clients.getWithSecret"
    ListClients "clientauthconfig.clients.list"
    ListClientsWithSecrets "clientauthconfig.clients.listWithSecrets"
    UpdateClient "clientauthconfig.clients.update"

    CreateAccessLevel "doorward.accessLevels.create"
    DeleteAccessLevel "doorward.accessLevels.delete"
    GetAccessLevel "doorward.accessLevels.get"
    ListAccessLevels "doorward.accessLevels.list"
    UpdateAccessLevel "doorward.accessLevels.update"
    ListAuditEvents "doorward.auditEvents.list"
    ExplainDecisions "doorward.decisions.explain"
    SimulateDecisions "doorward.decisions.simulate"
    CreateGroup "doorward.groups.create"
    DeleteGroup "doorward.groups.delete"
    GetGroup "doorward.groups.get"
    ListGroups "doorward.groups.list"
    UpdateGroup "doorward.groups.update"
    RotateKeys "doorward.keys.rotate"
    ListKeys "doorward.keys.list"
    CreateUser "doorward.users.create"
    DeleteUser "doorward.users.delete"
    GetUser "doorward.users.get"
    ListUsers "doorward.users.list"
    SetUserPassword "doorward.users.setPassword"
    UpdateUser "doorward.users.update"
}

/// A text that is no permission of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such permission")]
pub struct PermissionError;

impl Permission {
    /// Everything before the first dot.
    pub fn service(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }

    /// The name without its service.
    fn inside(self) -> (&'static str, &'static str) {
        let inside = self.name().split_once('.').map_or("", |(_, inside)| inside);
        inside.split_once('.').unwrap_or((inside, ""))
    }

    /// Whether it lets somebody through a door or become somebody: what no administration role gives, and no basic role.
    pub fn is_data_plane(self) -> bool {
        use Permission as P;
        matches!(
            self,
            P::AccessViaIap
                | P::EgressViaIap
                | P::RemediateWeb
                | P::AccessInstanceViaIap
                | P::RemediateInstance
                | P::AccessDestGroupViaIap
                | P::RemediateDestGroup
                | P::GetAccessToken
                | P::GetOpenIdToken
                | P::ImplicitDelegation
                | P::SignBlob
                | P::SignJwt
        )
    }
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(name: &str) -> Result<Self, PermissionError> {
        Permission::ALL.iter().copied().find(|permission| permission.name() == name).ok_or(PermissionError)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of permissions. Thirty-two bytes; asking takes one look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PermissionSet([u64; 4]);

/// More than the set can hold does not compile.
const _: () = assert!(Permission::ALL.len() <= 256);

impl PermissionSet {
    /// The set of nothing.
    pub const EMPTY: PermissionSet = PermissionSet([0; 4]);

    /// The set of these.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = [0; 4];
        let mut next = 0;
        while next < permissions.len() {
            let number = permissions[next] as usize;
            bits[number / 64] |= 1 << (number % 64);
            next += 1;
        }
        PermissionSet(bits)
    }

    /// Whether this one is in it.
    pub const fn contains(&self, permission: Permission) -> bool {
        let number = permission as usize;
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Those in one or the other.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        PermissionSet(std::array::from_fn(|place| self.0[place] | other.0[place]))
    }

    /// Those in this one and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        PermissionSet(std::array::from_fn(|place| self.0[place] & !other.0[place]))
    }

    /// Everything in it, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = Permission> {
        let set = *self;
        Permission::ALL.iter().copied().filter(move |permission| set.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::EMPTY, |set, permission| set.union(Self::of(&[permission])))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::name)).finish()
    }
}

/// What a deny rule forbids, in the spelling of version 2: `iap.googleapis.com/webServiceVersions.accessViaIAP`. The resource, the
/// verb or both may be `*`.
///
/// Spec: <https://cloud.google.com/iam/docs/deny-permissions-support>
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PermissionPattern {
    text: String,
    permissions: PermissionSet,
}

/// A text that is not a [`PermissionPattern`], or matches no permission of the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no permission that can be denied: write SERVICE.googleapis.com/RESOURCE.PERMISSION")]
pub struct PermissionPatternError(pub String);

impl PermissionPattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Those that it matches.
    pub fn permissions(&self) -> PermissionSet {
        self.permissions
    }
}

impl FromStr for PermissionPattern {
    type Err = PermissionPatternError;

    fn from_str(text: &str) -> Result<Self, PermissionPatternError> {
        let error = || PermissionPatternError(text.to_owned());
        let (service, inside) = text.split_once('/').ok_or_else(error)?;
        let (resource, verb) = inside.split_once('.').ok_or_else(error)?;
        let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        let permissions: PermissionSet = Permission::ALL
            .iter()
            .copied()
            .filter(|permission| {
                let (own_resource, own_verb) = permission.inside();
                domain_of(permission.service()) == service && fits(resource, own_resource) && fits(verb, own_verb)
            })
            .collect();
        if permissions.is_empty() {
            return Err(error());
        }
        Ok(PermissionPattern { text: text.to_owned(), permissions })
    }
}

impl fmt::Display for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name by which version 2 calls a service. Ours is no service of Google's.
fn domain_of(service: &str) -> &'static str {
    match service {
        "iap" => "iap.googleapis.com",
        "iam" => "iam.googleapis.com",
        "resourcemanager" => "cloudresourcemanager.googleapis.com",
        "compute" => "compute.googleapis.com",
        "appengine" => "appengine.googleapis.com",
        "clientauthconfig" => "clientauthconfig.googleapis.com",
        _ => "doorward",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_one_name_of_three_words_and_is_found_by_it() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(*permission));
            assert_eq!(permission.name().split('.').count(), 3, "{permission}");
        }
        let set: PermissionSet = Permission::ALL.iter().copied().collect();
        assert_eq!(set.len(), Permission::ALL.len());
        assert!(set.iter().eq(Permission::ALL.iter().copied()));
        assert_eq!("iap.web.*".parse::<Permission>(), Err(PermissionError));
    }

    #[test]
    fn a_pattern_of_a_deny_rule_matches_whole_words() {
        #[rustfmt::skip]
        let cases = [
            ("iap.googleapis.com/webServiceVersions.accessViaIAP", Some("iap.webServiceVersions.accessViaIAP")),
            ("iap.googleapis.com/*.accessViaIAP",                  Some("iap.webServiceVersions.accessViaIAP iap.tunnelInstances.accessViaIAP iap.tunnelDestGroups.accessViaIAP")),
            ("iap.googleapis.com/web.*",                           Some("iap.web.getIamPolicy iap.web.setIamPolicy iap.web.getSettings iap.web.updateSettings")),
            ("iam.googleapis.com/serviceAccounts.actAs",           Some("iam.serviceAccounts.actAs")),
            ("cloudresourcemanager.googleapis.com/projects.get",   Some("resourcemanager.projects.get")),
            ("doorward/keys.*",                                    Some("doorward.keys.rotate doorward.keys.list")),
            ("iap.webServiceVersions.accessViaIAP",                None),
            ("iap.googleapis.com/webServiceVersions.access*",      None),
            ("iap.googleapis.com/*",                               None),
            ("*/web.getIamPolicy",                                 None),
            ("iap.googleapis.com/web",                             None),
            ("",                                                   None),
        ];
        for (text, expected) in cases {
            let pattern = text.parse::<PermissionPattern>().ok();
            let names = pattern.map(|it| it.permissions().iter().map(Permission::name).collect::<Vec<_>>().join(" "));
            assert_eq!(names.as_deref(), expected, "{text}");
        }
        let all: PermissionPattern = "iap.googleapis.com/*.*".parse().unwrap();
        assert!(
            all.permissions().iter().all(|permission| permission.service() == "iap") && all.permissions().len() > 40
        );
    }
}
