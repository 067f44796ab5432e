//! Deny policies: what nobody may do, whatever they hold.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v2/policies>

use std::sync::Arc;

use doorward_core::entropy::{Entropy, EntropyError, random_hex};
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::{
    DenyPolicy, DenyPolicyError, DenyPolicyName, DenyRule, Etag, Permission, PermissionPattern, PermissionPatternError,
    principal_v2, read_principal_v2,
};
use doorward_core::resource::Resource;
use doorward_core::store::{Replaced, Store, StoreError};
use doorward_wire::google_api::{Status, iam_deny};
use doorward_wire::time::rfc3339;

use crate::admin::{Admin, AdminError, Changes, Failure, Method, Permitted};
use crate::etags::{self, NoState};
use crate::policies::{decode_condition, encode_condition, named_by};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

const SERVICE: &str = "iam.googleapis.com";
const CREATE: Method = Method::write(SERVICE, "google.iam.v2.Policies.CreatePolicy");
const UPDATE: Method = Method::write(SERVICE, "google.iam.v2.Policies.UpdatePolicy");
const DELETE: Method = Method::write(SERVICE, "google.iam.v2.Policies.DeletePolicy");
const GET: Method = Method::look(SERVICE, "google.iam.v2.Policies.GetPolicy");
const LIST: Method = Method::look(SERVICE, "google.iam.v2.Policies.ListPolicies");

/// The longest display name, in characters.
pub const DISPLAY_NAME_LIMIT: usize = 63;
/// The longest description of a rule, in characters.
pub const DESCRIPTION_LIMIT: usize = 256;
/// Deny policies at one place, at most.
///
/// Spec: <https://cloud.google.com/iam/quotas#limits>
pub const POLICIES_LIMIT: usize = 500;

/// Why something was not done with a deny policy.
#[derive(Debug, thiserror::Error)]
pub enum DenyError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The name or the rules.
    #[error(transparent)]
    Policy(#[from] DenyPolicyError),
    /// A permission that cannot be denied.
    #[error(transparent)]
    Permission(#[from] PermissionPatternError),
    /// A text that is no principal, or of a form that is not served.
    #[error("principal {principal:?}: {error}")]
    Principal {
        /// As it was sent.
        principal: String,
        /// Why.
        error: MemberError,
    },
    /// A principal that nobody here can be: of a pool that is another project's, of an issuer that is not trusted, or a group or an
    /// account that is not there. A rule that hits nobody is a mistake in it.
    #[error("{0} does not exist")]
    UnknownPrincipal(Member),
    /// A rule of another kind.
    #[error("rule {0} has no denyRule")]
    NoRule(
        /// The first rule is 0.
        usize,
    ),
    /// A text is too long.
    #[error("{field} is longer than {limit} characters")]
    TextTooLong {
        /// Which text, as Google names it.
        field: &'static str,
        /// The limit, in characters.
        limit: usize,
    },
    /// Annotations are not kept.
    #[error("annotations are not served")]
    Annotations,
    /// There are as many as there may be.
    #[error("there are at most {POLICIES_LIMIT} deny policies at one place")]
    TooManyPolicies,
    /// There is one of this name.
    #[error("there is a deny policy of that name")]
    AlreadyExists,
    /// There is none of this name.
    #[error("there is no such deny policy")]
    NotFound,
    /// It is no longer in the state that the caller read.
    #[error("the deny policy was changed by somebody else")]
    Conflict,
    /// The store failed.
    #[error("could not read or write deny policies")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the deny policy in force")]
    Refresh(#[from] RefreshError),
    /// No number could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for DenyError {
    fn status(&self) -> Status {
        match self {
            DenyError::Admin(error) => error.status(),
            DenyError::Policy(_)
            | DenyError::Permission(_)
            | DenyError::Principal { .. }
            | DenyError::UnknownPrincipal(_)
            | DenyError::NoRule(_)
            | DenyError::TextTooLong { .. }
            | DenyError::Annotations => Status::InvalidArgument,
            DenyError::TooManyPolicies => Status::ResourceExhausted,
            DenyError::AlreadyExists => Status::AlreadyExists,
            DenyError::NotFound => Status::NotFound,
            DenyError::Conflict => Status::Aborted,
            DenyError::Store(_) | DenyError::Refresh(_) | DenyError::Entropy(_) | DenyError::Stopping(_) => {
                Status::Internal
            }
        }
    }
}

/// The deny policies of the project, its folders and its organization.
pub struct DenyPolicies {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
}

impl DenyPolicies {
    /// Policies in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        DenyPolicies { store, publisher, changes, entropy }
    }

    /// Every policy at one attachment (`cloudresourcemanager.googleapis.com%2Fprojects%2FN`), in the order of ids, without rules.
    pub async fn list(&self, admin: &Admin, attachment: &str) -> Result<Vec<iam_deny::Policy>, DenyError> {
        let mut call = self.changes.begin(admin, LIST, attachment)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let place = self.place(admin, attachment, Permission::ListDenyPolicies)?;
            call.demand(Permission::ListDenyPolicies, &place)?;
            let all = self.store.deny_policies().await?.into_iter();
            let shown = all.filter(|it| it.name.attachment == place).map(|it| self.show(&it));
            Ok(shown.map(|shown| iam_deny::Policy { rules: Vec::new(), ..shown }).collect())
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One policy.
    pub async fn get(&self, admin: &Admin, name: &str) -> Result<iam_deny::Policy, DenyError> {
        let mut call = self.changes.begin(admin, GET, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let name = self.name(admin, name, Permission::GetDenyPolicy)?;
            call.demand(Permission::GetDenyPolicy, &name.attachment)?;
            Ok(self.show(&self.store.deny_policy(&name).await?.ok_or(DenyError::NotFound)?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a policy, which is in force when this returns.
    pub async fn create(
        &self,
        admin: &Admin,
        attachment: &str,
        id: &str,
        given: iam_deny::Policy,
    ) -> Result<iam_deny::Policy, DenyError> {
        let written = format!("policies/{attachment}/denypolicies/{id}");
        let mut call = self.changes.begin(admin, CREATE, &written)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let place = self.place(admin, attachment, Permission::CreateDenyPolicy)?;
            let permitted = call.demand(Permission::CreateDenyPolicy, &place)?;
            let name = DenyPolicyName::parse(&written, self.publisher.project())?;
            call.about(&name.name(self.publisher.project()));
            if self.count(&permitted).await? >= POLICIES_LIMIT {
                return Err(DenyError::TooManyPolicies);
            }
            let policy = DenyPolicy {
                name,
                uid: random_hex(&*self.entropy, 16)?,
                display_name: String::new(),
                rules: Vec::new(),
                created: call.time(),
                updated: call.time(),
                etag: Etag::UNWRITTEN,
            };
            let policy = self.read(policy, given).await?;
            call.creates(&self.show(&policy));
            let store = self.store.clone();
            let write = async move {
                let etag = store.add_deny_policy(&policy).await?.ok_or(DenyError::AlreadyExists)?;
                Ok::<_, DenyError>(DenyPolicy { etag, ..policy })
            };
            let shown = self.show(&self.publisher.change(write).await?);
            call.changed_to(&shown);
            Ok(shown)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Replaces what can change of a policy: its display name and its rules.
    pub async fn update(
        &self,
        admin: &Admin,
        name: &str,
        given: iam_deny::Policy,
    ) -> Result<iam_deny::Policy, DenyError> {
        let mut call = self.changes.begin(admin, UPDATE, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let name = self.name(admin, name, Permission::UpdateDenyPolicy)?;
            call.demand(Permission::UpdateDenyPolicy, &name.attachment)?;
            let expected = etags::decode_text(&given.etag).map_err(|NoState| DenyError::Conflict)?;
            let old = self.store.deny_policy(&name).await?.ok_or(DenyError::NotFound)?;
            let before = self.show(&old);
            let policy = self.read(DenyPolicy { updated: call.time(), ..old }, given).await?;
            call.changes(Some(&before), Some(&self.show(&policy)));
            let store = self.store.clone();
            let write = async move {
                match store.replace_deny_policy(&policy, expected).await? {
                    Replaced::Done(etag) => Ok(DenyPolicy { etag, ..policy }),
                    Replaced::Stale => Err(DenyError::Conflict),
                    Replaced::NotFound => Err(DenyError::NotFound),
                }
            };
            let shown = self.show(&self.publisher.change(write).await?);
            call.changed_to(&shown);
            Ok(shown)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a policy, and gives what it was.
    pub async fn delete(&self, admin: &Admin, name: &str, etag: Option<&str>) -> Result<iam_deny::Policy, DenyError> {
        let mut call = self.changes.begin(admin, DELETE, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let name = self.name(admin, name, Permission::DeleteDenyPolicy)?;
            call.demand(Permission::DeleteDenyPolicy, &name.attachment)?;
            let expected = etags::decode_text(etag.unwrap_or_default()).map_err(|NoState| DenyError::Conflict)?;
            let old = self.store.deny_policy(&name).await?.ok_or(DenyError::NotFound)?;
            let before = self.show(&old);
            call.removes(&before);
            let store = self.store.clone();
            let write = async move {
                match store.remove_deny_policy(&name, expected).await? {
                    Replaced::Done(_) => Ok(()),
                    Replaced::Stale => Err(DenyError::Conflict),
                    Replaced::NotFound => Err(DenyError::NotFound),
                }
            };
            self.publisher.change(write).await?;
            Ok(iam_deny::Policy { delete_time: rfc3339(call.time().seconds()), ..before })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Where a policy is attached. What is not ours looks to everybody but the operator as what they may not.
    fn place(&self, admin: &Admin, attachment: &str, permission: Permission) -> Result<Resource, DenyError> {
        match DenyPolicyName::attachment(attachment, self.publisher.project()) {
            Ok(place) => Ok(place),
            Err(DenyPolicyError::Attachment) if admin.api_caller().is_some() => {
                let name = attachment.replace("%2F", "/");
                let name = name.strip_prefix("cloudresourcemanager.googleapis.com/").unwrap_or(&name);
                Err(self
                    .changes
                    .gate()
                    .reach(admin, name, |_| permission)
                    .err()
                    .map_or(DenyError::Policy(DenyPolicyError::Attachment), DenyError::Admin))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self, admin: &Admin, name: &str, permission: Permission) -> Result<DenyPolicyName, DenyError> {
        match DenyPolicyName::parse(name, self.publisher.project()) {
            Ok(name) => Ok(name),
            Err(DenyPolicyError::Attachment) => {
                let rest = name.strip_prefix("policies/").unwrap_or(name);
                let attachment = rest.split_once("/denypolicies/").map_or(rest, |(attachment, _)| attachment);
                self.place(admin, attachment, permission)?;
                Err(DenyPolicyError::Attachment.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn count(&self, at: &Permitted) -> Result<usize, DenyError> {
        let all = self.store.deny_policies().await?;
        Ok(all.iter().filter(|policy| policy.name.attachment == *at.resource()).count())
    }

    /// What can change of a policy, checked.
    async fn read(&self, policy: DenyPolicy, given: iam_deny::Policy) -> Result<DenyPolicy, DenyError> {
        check_text("displayName", &given.display_name, DISPLAY_NAME_LIMIT)?;
        if !given.annotations.is_empty() {
            return Err(DenyError::Annotations);
        }
        let numbered = given.rules.into_iter().enumerate();
        let rules = numbered.map(|(number, rule)| read_rule(number, rule)).collect::<Result<Vec<_>, _>>()?;
        self.check_principals(&rules).await?;
        let snapshot = self.publisher.cell().current();
        let checking =
            tokio::task::spawn_blocking(move || DenyPolicy::check(&rules, snapshot.schema()).map(|()| rules));
        Ok(DenyPolicy { display_name: given.display_name, rules: join(checking).await??, ..policy })
    }

    /// A principal that is not there is denied nothing. It may come later, so this is to find mistakes, and no promise.
    async fn check_principals(&self, rules: &[DenyRule]) -> Result<(), DenyError> {
        use doorward_core::store::Named;

        let snapshot = self.publisher.cell().current();
        // Collected before anything is waited for: a closure over references could not be sent between threads.
        let principals: Vec<&Member> = rules.iter().flat_map(principals).collect();
        for member in principals {
            let unknown = || DenyError::UnknownPrincipal(member.clone());
            let there = match named_by(member, &snapshot).map_err(|_| unknown())? {
                Some(Named::Group(group)) => snapshot.groups.contains(&group),
                Some(Named::ServiceAccount(email)) => snapshot.service_account(&email).is_some(),
                Some(Named::Pool(pool)) => self.store.pools().await?.iter().any(|it| it.id == pool),
                Some(Named::ServiceAccountId(_) | Named::Application(_)) | None => true,
            };
            if !there {
                return Err(unknown());
            }
        }
        Ok(())
    }

    fn show(&self, policy: &DenyPolicy) -> iam_deny::Policy {
        iam_deny::Policy {
            name: policy.name.name(self.publisher.project()),
            uid: policy.uid.clone(),
            kind: iam_deny::Policy::KIND.to_owned(),
            display_name: policy.display_name.clone(),
            annotations: Default::default(),
            etag: etags::encode_text(policy.etag),
            create_time: rfc3339(policy.created.seconds()),
            update_time: rfc3339(policy.updated.seconds()),
            delete_time: String::new(),
            rules: policy.rules.iter().map(show_rule).collect(),
        }
    }
}

fn principals(rule: &DenyRule) -> impl Iterator<Item = &Member> {
    rule.denied_principals.iter().chain(&rule.exception_principals)
}

fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), DenyError> {
    if text.chars().count() > limit { Err(DenyError::TextTooLong { field, limit }) } else { Ok(()) }
}

fn read_rule(number: usize, rule: iam_deny::PolicyRule) -> Result<DenyRule, DenyError> {
    let iam_deny::PolicyRule { description, deny_rule } = rule;
    check_text("description", &description, DESCRIPTION_LIMIT)?;
    let rule = deny_rule.ok_or(DenyError::NoRule(number))?;
    let principals = |texts: Vec<String>| {
        let read =
            |text: String| read_principal_v2(&text).map_err(|error| DenyError::Principal { principal: text, error });
        texts.into_iter().map(read).collect::<Result<Vec<Member>, _>>()
    };
    let permissions = |texts: Vec<String>| {
        texts.iter().map(|text| text.parse()).collect::<Result<Vec<PermissionPattern>, PermissionPatternError>>()
    };
    Ok(DenyRule {
        description,
        denied_principals: principals(rule.denied_principals)?,
        exception_principals: principals(rule.exception_principals)?,
        denied_permissions: permissions(rule.denied_permissions)?,
        exception_permissions: permissions(rule.exception_permissions)?,
        condition: rule.denial_condition.map(decode_condition),
    })
}

fn show_rule(rule: &DenyRule) -> iam_deny::PolicyRule {
    let principals = |members: &[Member]| members.iter().map(|it| principal_v2(it).to_string()).collect();
    let permissions = |patterns: &[PermissionPattern]| patterns.iter().map(|it| it.as_str().to_owned()).collect();
    let deny_rule = iam_deny::DenyRule {
        denied_principals: principals(&rule.denied_principals),
        exception_principals: principals(&rule.exception_principals),
        denied_permissions: permissions(&rule.denied_permissions),
        exception_permissions: permissions(&rule.exception_permissions),
        denial_condition: rule.condition.as_ref().map(encode_condition),
    };
    iam_deny::PolicyRule { description: rule.description.clone(), deny_rule: Some(deny_rule) }
}
