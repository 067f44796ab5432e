//! Roles: those that are there, and those that an administrator makes.
//!
//! Spec: <https://cloud.google.com/iam/docs/roles-permissions>

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Etag, Permission, PermissionSet};
use crate::resource::{Ancestor, Branch, Project, Resource};

use Permission as P;

/// The name of a role: `roles/SERVICE.NAME`, `projects/NUMBER/roles/ID` or `organizations/NUMBER/roles/ID`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(Arc<str>);

/// A text that is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a role")]
pub struct RoleNameError;

impl RoleName {
    /// Google's role for reaching applications.
    pub fn https_resource_accessor() -> Self {
        RoleName("roles/iap.httpsResourceAccessor".into())
    }

    /// Reads a name, and writes the project's number for its id: a custom role has one name.
    pub fn parse(text: &str, project: &Project) -> Result<Self, RoleNameError> {
        let own = text.strip_prefix("projects/").and_then(|rest| rest.strip_prefix(project.id.as_str()));
        match own.filter(|rest| rest.starts_with('/')) {
            Some(rest) => format!("projects/{}{rest}", project.number).parse(),
            None => text.parse(),
        }
    }

    /// The name as Google writes it: a custom role of the project by the project's id. [`RoleName::parse`] reads it back.
    pub fn shown(&self, project: &Project) -> String {
        let own = self.0.strip_prefix("projects/").and_then(|rest| rest.strip_prefix(project.number.as_str()));
        match own.filter(|rest| rest.starts_with('/')) {
            Some(rest) => format!("projects/{}{rest}", project.id),
            None => self.0.to_string(),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a role that an administrator made.
    pub fn is_custom(&self) -> bool {
        !self.0.starts_with("roles/")
    }

    /// What a custom role's id is: 3 to 64 of letters, digits, `_` and `.`.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/creating-custom-roles>
    pub fn is_id(text: &str) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
        (3..=64).contains(&text.len()) && text.bytes().all(plain)
    }

    /// Where a custom role may be bound: in its project, or in all of its organization.
    pub fn is_of(&self, project: &Project) -> bool {
        match self.0.split('/').collect::<Vec<_>>()[..] {
            ["projects", number, ..] => number == project.number,
            ["organizations", number, ..] => project.ancestors.contains(&Ancestor::Organization(number.to_owned())),
            _ => true,
        }
    }
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        let digits = |it: &str| !it.is_empty() && it.len() <= 20 && it.bytes().all(|b| b.is_ascii_digit());
        let good = match text.split('/').collect::<Vec<_>>()[..] {
            ["roles", name] => {
                !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
            }
            ["projects" | "organizations", number, "roles", id] => digits(number) && RoleName::is_id(id),
            _ => false,
        };
        if good { Ok(RoleName(text.into())) } else { Err(RoleNameError) }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role that is always there.
#[derive(Debug)]
pub struct PredefinedRole {
    /// `roles/…`
    pub name: &'static str,
    /// A name for people.
    pub title: &'static str,
    /// What it gives.
    pub permissions: PermissionSet,
}

/// How finished a custom role is. A disabled one gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LaunchStage {
    /// `ALPHA`
    #[default]
    Alpha,
    /// `BETA`
    Beta,
    /// `GA`
    Ga,
    /// `DEPRECATED`
    Deprecated,
    /// `DISABLED`
    Disabled,
    /// `EAP`
    Eap,
}

impl LaunchStage {
    /// Every stage.
    pub const ALL: [LaunchStage; 6] = [
        LaunchStage::Alpha,
        LaunchStage::Beta,
        LaunchStage::Ga,
        LaunchStage::Deprecated,
        LaunchStage::Disabled,
        LaunchStage::Eap,
    ];

    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            LaunchStage::Alpha => "ALPHA",
            LaunchStage::Beta => "BETA",
            LaunchStage::Ga => "GA",
            LaunchStage::Deprecated => "DEPRECATED",
            LaunchStage::Disabled => "DISABLED",
            LaunchStage::Eap => "EAP",
        }
    }

    /// The stage of this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// A role that an administrator made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRole {
    /// `projects/NUMBER/roles/ID` or `organizations/NUMBER/roles/ID`.
    pub name: RoleName,
    /// A name for people, at most 100 characters.
    pub title: String,
    /// Free text, at most 300 characters.
    pub description: String,
    /// How finished it is.
    pub stage: LaunchStage,
    /// What it gives.
    pub permissions: PermissionSet,
    /// It gives nothing, and may be taken back.
    pub deleted: bool,
    /// Its state.
    pub etag: Etag,
}

/// Why a custom role is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomRoleError {
    /// Not a permission of the table.
    #[error("permission {0} is not valid")]
    Permission(String),
    /// A permission that a role of a project cannot hold.
    #[error("permission {0} is of an organization or a folder: a role of a project cannot hold it")]
    AboveProject(Permission),
    /// The title is longer than 100 characters, or the description than 300.
    #[error("a title has at most 100 characters, a description 300")]
    TooLong,
}

impl CustomRole {
    /// What it gives at this moment.
    pub fn effective(&self) -> PermissionSet {
        match self.deleted || self.stage == LaunchStage::Disabled {
            true => PermissionSet::EMPTY,
            false => self.permissions,
        }
    }

    /// Reads the permissions of a role of this name.
    ///
    /// # Errors
    /// The first name that is not in the table, or cannot be in such a role.
    pub fn permissions<'a>(
        role: &RoleName,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<PermissionSet, CustomRoleError> {
        let of_project = role.as_str().starts_with("projects/");
        let read = |name: &str| {
            let permission: Permission = name.parse().map_err(|_| CustomRoleError::Permission(name.to_owned()))?;
            let above = name.contains(".organizations.") || name.contains(".folders.") || permission == P::ListProjects;
            if of_project && above { Err(CustomRoleError::AboveProject(permission)) } else { Ok(permission) }
        };
        names.into_iter().map(read).collect()
    }

    /// Checks the texts for people.
    pub fn checked(self) -> Result<Self, CustomRoleError> {
        if self.title.chars().count() > 100 || self.description.chars().count() > 300 {
            return Err(CustomRoleError::TooLong);
        }
        Ok(self)
    }
}

/// A role that was found.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// One that is always there.
    Predefined(&'static PredefinedRole),
    /// One that was made.
    Custom(&'a CustomRole),
}

impl Role<'_> {
    /// What it gives at this moment.
    pub fn permissions(&self) -> PermissionSet {
        match self {
            Role::Predefined(role) => role.permissions,
            Role::Custom(role) => role.effective(),
        }
    }

    /// Whether a policy of this resource may name the role: where it gives something that can be done there, or below. Basic roles
    /// stand at the project or above it.
    pub fn is_grantable_on(&self, resource: &Resource) -> bool {
        let branch = resource.branch();
        if let Role::Predefined(role) = self
            && BASIC.contains(&role.name)
        {
            return branch == Branch::Above;
        }
        // A custom role that gives nothing today may give something tomorrow.
        let held = match self {
            Role::Predefined(role) => role.permissions,
            Role::Custom(role) => role.permissions,
        };
        branch == Branch::Above || held.iter().any(|permission| branch_of(permission) == branch)
    }
}

const BASIC: [&str; 3] = ["roles/owner", "roles/editor", "roles/viewer"];

/// The part of the tree where a permission is asked for.
fn branch_of(permission: Permission) -> Branch {
    let name = permission.name();
    if name.starts_with("iap.web") {
        Branch::Web
    } else if name.starts_with("iap.tunnel") {
        Branch::Tunnel
    } else if name.starts_with("iam.serviceAccount") {
        Branch::Accounts
    } else {
        Branch::Above
    }
}

impl PredefinedRole {
    /// Every role that is always there.
    pub fn all() -> &'static [PredefinedRole] {
        &PREDEFINED
    }

    /// The role of this name.
    pub fn find(name: &str) -> Option<&'static PredefinedRole> {
        PREDEFINED.iter().find(|role| role.name == name)
    }
}

const WEB_POLICIES: &[P] = &[
    P::GetWebIamPolicy,
    P::SetWebIamPolicy,
    P::GetWebTypeIamPolicy,
    P::SetWebTypeIamPolicy,
    P::GetWebServiceIamPolicy,
    P::SetWebServiceIamPolicy,
    P::GetWebServiceVersionIamPolicy,
    P::SetWebServiceVersionIamPolicy,
    P::GetTunnelIamPolicy,
    P::SetTunnelIamPolicy,
    P::GetTunnelZoneIamPolicy,
    P::SetTunnelZoneIamPolicy,
    P::GetTunnelInstanceIamPolicy,
    P::SetTunnelInstanceIamPolicy,
    P::GetTunnelLocationIamPolicy,
    P::SetTunnelLocationIamPolicy,
    P::GetTunnelDestGroupIamPolicy,
    P::SetTunnelDestGroupIamPolicy,
];

static PREDEFINED: std::sync::LazyLock<Vec<PredefinedRole>> = std::sync::LazyLock::new(|| {
    /// Every permission whose name begins with one of the beginnings, and ends with one of the endings.
    fn named(beginnings: &[&str], endings: &[&str]) -> PermissionSet {
        let fits = |name: &str| {
            beginnings.iter().any(|beginning| name.starts_with(beginning))
                && endings.iter().any(|ending| name.ends_with(ending))
        };
        P::ALL.iter().copied().filter(|permission| fits(permission.name())).collect()
    }
    const READ: &[&str] = &[".get", ".list"];
    const ANY: &[&str] = &[""];
    let of = PermissionSet::of;
    let project = of(&[P::GetProject]);
    let projects = of(&[P::GetProject, P::ListProjects]);
    let data_plane: PermissionSet = P::ALL.iter().copied().filter(|it| it.is_data_plane()).collect();

    let account_admin = named(&["iam.serviceAccounts."], ANY).without(data_plane).without(of(&[P::ActAs]));
    let account_view = of(&[P::GetServiceAccount, P::GetServiceAccountIamPolicy, P::ListServiceAccounts])
        .union(of(&[P::GetServiceAccountKey, P::ListServiceAccountKeys]));
    let pools = named(&["iam.workloadIdentityPool"], ANY);
    let roles = named(&["iam.roles."], ANY);
    let denies = named(&["iam.denypolicies."], ANY);
    let policies = named(&[""], &[".getIamPolicy", ".setIamPolicy"]);
    // Lists of everything of Google's, and all policies; of what there is by itself, accounts and roles alone, which policies name.
    let review =
        named(&["iam.", "iap.", "compute.", "appengine.", "clientauthconfig.", "resourcemanager."], &[".list"])
            .union(named(&[""], &[".getIamPolicy"]))
            .union(of(&[P::GetRole, P::GetServiceAccount]))
            .union(project);
    let settings = named(&["iap."], &[".getSettings", ".updateSettings"]);
    let compute = named(&["compute."], ANY);
    let app_engine = named(&["appengine."], ANY);
    let clients = named(&["clientauthconfig."], ANY);
    let client_view = of(&[P::GetBrand, P::ListBrands, P::GetClient, P::ListClients]);
    let own = named(&["doorward."], ANY);
    let own_view = named(&["doorward."], READ).union(of(&[P::ExplainDecisions, P::SimulateDecisions]));

    // As Google's: a viewer sees what there is, an editor changes it, an owner says besides who may. None of them goes through a
    // door itself or gets a token of an account, and none of them changes deny policies, which bind owners too. But an editor makes
    // keys of service accounts, as with Google, and whoever holds such a key is the account and passes its doors. Whoever sets the
    // password of a person can be that person: of our own, no basic role gives that.
    let viewer = named(&["iap."], &[".getSettings", ".get", ".list"])
        .union(named(
            &[
                "iam.roles.",
                "iam.workloadIdentityPool",
                "iam.denypolicies.",
                "compute.",
                "appengine.",
                "resourcemanager.projects.",
            ],
            READ,
        ))
        .union(account_view)
        .union(client_view)
        .union(of(&[P::GetProjectIamPolicy, P::ListGroups, P::GetGroup, P::ListAccessLevels, P::GetAccessLevel]));
    let editor = viewer
        .union(settings)
        .union(named(&["iap.tunnelDestGroups."], &[".create", ".delete", ".update"]))
        .union(account_admin.without(policies))
        .union(named(&["iam.serviceAccountKeys."], ANY))
        .union(of(&[P::ActAs, P::UpdateProject]))
        .union(compute)
        .union(app_engine)
        .union(clients);
    let owner = editor.union(policies).union(roles).union(pools).union(own.without(of(&[P::SetUserPassword])));

    let role = |name, title, permissions| PredefinedRole { name, title, permissions };
    vec![
        role("roles/owner", "Owner", owner),
        role("roles/editor", "Editor", editor),
        role("roles/viewer", "Viewer", viewer),
        role(
            "roles/browser",
            "Browser",
            projects.union(of(&[P::GetFolder, P::ListFolders, P::GetOrganization, P::GetProjectIamPolicy])),
        ),
        role("roles/iap.admin", "IAP Policy Admin", of(WEB_POLICIES)),
        role("roles/iap.settingsAdmin", "IAP Settings Admin", settings),
        role("roles/iap.httpsResourceAccessor", "IAP-secured Web App User", of(&[P::AccessViaIap])),
        role("roles/iap.egressor", "IAP-secured Egressor", of(&[P::EgressViaIap])),
        role(
            "roles/iap.remediatorUser",
            "IAP Remediator User",
            of(&[P::RemediateWeb, P::RemediateInstance, P::RemediateDestGroup]),
        ),
        role(
            "roles/iap.tunnelResourceAccessor",
            "IAP-secured Tunnel User",
            of(&[P::AccessInstanceViaIap, P::AccessDestGroupViaIap]),
        ),
        role(
            "roles/iap.tunnelDestGroupEditor",
            "IAP-secured Tunnel Destination Group Editor",
            of(&[
                P::CreateTunnelDestGroup,
                P::DeleteTunnelDestGroup,
                P::GetTunnelDestGroup,
                P::ListTunnelDestGroups,
                P::UpdateTunnelDestGroup,
            ]),
        ),
        role(
            "roles/iap.tunnelDestGroupViewer",
            "IAP-secured Tunnel Destination Group Viewer",
            of(&[P::GetTunnelDestGroup, P::ListTunnelDestGroups]),
        ),
        role(
            "roles/iam.serviceAccountTokenCreator",
            "Service Account Token Creator",
            of(&[
                P::GetOpenIdToken,
                P::GetAccessToken,
                P::SignJwt,
                P::SignBlob,
                P::ImplicitDelegation,
                P::GetServiceAccount,
                P::ListServiceAccounts,
            ]),
        ),
        role(
            "roles/iam.serviceAccountOpenIdTokenCreator",
            "Service Account OpenID Connect Identity Token Creator",
            of(&[P::GetOpenIdToken]),
        ),
        role(
            "roles/iam.workloadIdentityUser",
            "Workload Identity User",
            of(&[P::GetOpenIdToken, P::GetAccessToken, P::GetServiceAccount, P::ListServiceAccounts]),
        ),
        role(
            "roles/iam.serviceAccountUser",
            "Service Account User",
            of(&[P::ActAs, P::GetServiceAccount, P::ListServiceAccounts]).union(project),
        ),
        role("roles/iam.serviceAccountAdmin", "Service Account Admin", account_admin.union(projects)),
        role(
            "roles/iam.serviceAccountKeyAdmin",
            "Service Account Key Admin",
            named(&["iam.serviceAccountKeys."], ANY)
                .union(of(&[P::GetServiceAccount, P::ListServiceAccounts]))
                .union(projects),
        ),
        role("roles/iam.serviceAccountViewer", "View Service Accounts", account_view.union(projects)),
        role("roles/iam.workloadIdentityPoolAdmin", "IAM Workload Identity Pool Admin", pools.union(projects)),
        role(
            "roles/iam.workloadIdentityPoolViewer",
            "IAM Workload Identity Pool Viewer",
            named(&["iam.workloadIdentityPool"], READ).union(projects),
        ),
        role("roles/iam.roleAdmin", "Role Administrator", roles.union(of(&[P::GetProjectIamPolicy])).union(project)),
        role(
            "roles/iam.roleViewer",
            "Role Viewer",
            named(&["iam.roles."], READ).union(of(&[P::GetProjectIamPolicy])).union(project),
        ),
        role("roles/iam.securityAdmin", "Security Admin", policies.union(review)),
        role("roles/iam.securityReviewer", "Security Reviewer", review),
        role("roles/iam.denyAdmin", "Deny Admin", denies),
        role("roles/iam.denyReviewer", "Deny Reviewer", named(&["iam.denypolicies."], READ)),
        role("roles/compute.admin", "Compute Admin", compute.union(projects)),
        role("roles/compute.viewer", "Compute Viewer", named(&["compute."], READ).union(projects)),
        role("roles/appengine.appAdmin", "App Engine Admin", app_engine.union(projects)),
        role("roles/appengine.appViewer", "App Engine Viewer", named(&["appengine."], READ).union(projects)),
        role("roles/oauthconfig.editor", "OAuth Config Editor", clients.union(project)),
        role("roles/oauthconfig.viewer", "OAuth Config Viewer", client_view.union(project)),
        role(
            "roles/resourcemanager.projectIamAdmin",
            "Project IAM Admin",
            of(&[P::GetProject, P::GetProjectIamPolicy, P::SetProjectIamPolicy]),
        ),
        role("roles/doorward.admin", "Doorward Admin", own.union(project)),
        role("roles/doorward.viewer", "Doorward Viewer", own_view.union(project)),
    ]
});

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::account::UniqueId;
    use crate::resource::ServiceType;

    #[test]
    fn a_role_is_granted_where_it_can_do_something() {
        let resources = [
            Resource::Organization("1".into()),
            Resource::Project,
            Resource::Web,
            Resource::WebService(ServiceType::Compute { region: None }, "7".into()),
            Resource::TunnelDestGroup("r".into(), "g".into()),
            Resource::ServiceAccount { unique_id: UniqueId("42".into()) },
        ];
        #[rustfmt::skip]
        let cases = [
            //                                                org, project, web, service, destGroup, account
            ("roles/owner",                                   "++----"),
            ("roles/viewer",                                  "++----"),
            ("roles/iap.admin",                               "+++++-"),
            ("roles/iap.settingsAdmin",                       "++++--"),
            ("roles/iap.httpsResourceAccessor",               "++++--"),
            ("roles/iap.tunnelResourceAccessor",              "++--+-"),
            ("roles/iam.serviceAccountTokenCreator",          "++---+"),
            ("roles/iam.serviceAccountOpenIdTokenCreator",    "++---+"),
            ("roles/iam.workloadIdentityUser",                "++---+"),
            ("roles/iam.serviceAccountUser",                  "++---+"),
            ("roles/iam.roleAdmin",                           "++----"),
            ("roles/compute.admin",                           "++----"),
            ("roles/doorward.admin",                          "++----"),
        ];
        for (name, expected) in cases {
            let role = Role::Predefined(PredefinedRole::find(name).unwrap());
            let marks = resources.iter().map(|it| if role.is_grantable_on(it) { '+' } else { '-' });
            assert_eq!(marks.collect::<String>(), expected, "{name}");
        }
    }

    #[test]
    fn only_the_roles_for_it_go_through_a_door_or_become_an_account() {
        let doors: Vec<&str> = PredefinedRole::all()
            .iter()
            .filter(|role| role.permissions.iter().any(Permission::is_data_plane))
            .map(|role| role.name)
            .collect();
        #[rustfmt::skip]
        assert_eq!(doors, [
            "roles/iap.httpsResourceAccessor",
            "roles/iap.egressor",
            "roles/iap.remediatorUser",
            "roles/iap.tunnelResourceAccessor",
            "roles/iam.serviceAccountTokenCreator",
            "roles/iam.serviceAccountOpenIdTokenCreator",
            "roles/iam.workloadIdentityUser",
        ]);
        for role in PredefinedRole::all() {
            assert!(!role.permissions.is_empty(), "{}", role.name);
            assert_eq!(role.name.parse::<RoleName>().unwrap().as_str(), role.name);
            let denies = role.permissions.contains(P::CreateDenyPolicy);
            assert_eq!(denies, role.name == "roles/iam.denyAdmin", "{}", role.name);
        }
    }

    #[test]
    fn the_roles_of_iap_give_what_google_says() {
        #[rustfmt::skip]
        let cases = [
            ("roles/iap.httpsResourceAccessor",   "iap.webServiceVersions.accessViaIAP"),
            ("roles/iap.egressor",                "iap.webServiceVersions.egressViaIAP"),
            ("roles/iap.tunnelResourceAccessor",  "iap.tunnelInstances.accessViaIAP iap.tunnelDestGroups.accessViaIAP"),
            ("roles/iap.tunnelDestGroupViewer",   "iap.tunnelDestGroups.get iap.tunnelDestGroups.list"),
            ("roles/iam.serviceAccountOpenIdTokenCreator", "iam.serviceAccounts.getOpenIdToken"),
            ("roles/iam.denyReviewer",            "iam.denypolicies.get iam.denypolicies.list"),
            ("roles/resourcemanager.projectIamAdmin", "resourcemanager.projects.get resourcemanager.projects.getIamPolicy resourcemanager.projects.setIamPolicy"),
        ];
        for (name, expected) in cases {
            let names = PredefinedRole::find(name).unwrap().permissions.iter().map(Permission::name);
            assert_eq!(names.collect::<Vec<_>>().join(" "), expected, "{name}");
        }
        let held = |name: &str| PredefinedRole::find(name).unwrap().permissions;
        assert!(held("roles/iap.admin").iter().all(|it| it.name().ends_with("IamPolicy")));
        assert_eq!(held("roles/iap.admin").len(), 18);
        assert!(held("roles/iap.settingsAdmin").iter().all(|it| it.name().ends_with("Settings")));
        assert_eq!(held("roles/iap.settingsAdmin").len(), 14);
        // Who reviews reads policies and lists, and by itself only what policies name.
        let reviews = held("roles/iam.securityReviewer");
        let shown = reviews.iter().map(Permission::name).filter(|name| name.ends_with(".get"));
        let named = ["iam.serviceAccounts.get", "iam.roles.get", "resourcemanager.projects.get"];
        assert_eq!(shown.collect::<HashSet<_>>(), HashSet::from(named));
        assert!(held("roles/iam.securityAdmin").iter().any(|it| it.name() == "iam.serviceAccounts.setIamPolicy"));
    }

    #[test]
    fn a_custom_role_has_one_name_and_holds_what_is_in_the_table() {
        let project = Project { id: "dev-project".into(), number: "1".into(), ancestors: vec![] };
        #[rustfmt::skip]
        let names = [
            ("projects/dev-project/roles/door",  Some(("projects/1/roles/door",          "projects/dev-project/roles/door"))),
            ("projects/1/roles/door.keeper_2",   Some(("projects/1/roles/door.keeper_2", "projects/dev-project/roles/door.keeper_2"))),
            ("projects/12/roles/door",           Some(("projects/12/roles/door",         "projects/12/roles/door"))),
            ("organizations/1/roles/door",       Some(("organizations/1/roles/door",     "organizations/1/roles/door"))),
            ("roles/iap.admin",                  Some(("roles/iap.admin",                "roles/iap.admin"))),
            ("projects/1/roles/do",              None),
            ("projects/other/roles/door",        None),
            ("projects/1/roles/door-keeper",     None),
            ("projects/1/roles/",                None),
            ("roles/",                           None),
            ("roles/a/b",                        None),
        ];
        for (text, expected) in names {
            let read = RoleName::parse(text, &project).ok();
            let shown = read.as_ref().map(|name| name.shown(&project));
            assert_eq!(read.as_ref().map(RoleName::as_str).zip(shown.as_deref()), expected, "{text}");
            let back = shown.map(|shown| RoleName::parse(&shown, &project).ok());
            assert_eq!(back.flatten(), read, "{text} is read as it is shown");
        }
        let of = |name: &str, permission: &str| CustomRole::permissions(&name.parse().unwrap(), [permission]);
        let (own, all) = ("projects/1/roles/door", "organizations/9/roles/door");
        assert_eq!(of(own, "iap.web.getIamPolicy"), Ok(PermissionSet::of(&[P::GetWebIamPolicy])));
        assert_eq!(of(own, "iap.web.*"), Err(CustomRoleError::Permission("iap.web.*".into())));
        assert_eq!(of(own, "iap.folders.getSettings"), Err(CustomRoleError::AboveProject(P::GetFolderSettings)));
        assert_eq!(of(all, "iap.folders.getSettings"), Ok(PermissionSet::of(&[P::GetFolderSettings])));
    }
}
