//! Groups of ours: whom `group:EMAIL` in a policy means.

use std::sync::Arc;

use doorward_core::audit::escaped;
use doorward_core::group::{Group, NestingError};
use doorward_core::member::{Email, EmailError, Member, MemberError};
use doorward_core::policy::{Etag, Permission};
use doorward_core::resource::Resource;
use doorward_core::store::{Named, Replaced, Store, StoreError};
use doorward_wire::doorward_api::{GroupResource, ListGroupsResponse};
use doorward_wire::google_api::Status;
use doorward_wire::jose::{decode_base64url, encode_base64url};
use serde_json::json;
use tokio::sync::Mutex;

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::etags::{self, NoState};
use crate::policies::named_by;
use crate::snapshots::{RefreshError, SnapshotPublisher};

const SERVICE: &str = "doorward";
const CREATE: Method = Method::write(SERVICE, "doorward.v1.Groups.CreateGroup");
const UPDATE: Method = Method::write(SERVICE, "doorward.v1.Groups.UpdateGroup");
const DELETE: Method = Method::write(SERVICE, "doorward.v1.Groups.DeleteGroup");
const ADD: Method = Method::write(SERVICE, "doorward.v1.Groups.AddMembers");
const REMOVE: Method = Method::write(SERVICE, "doorward.v1.Groups.RemoveMembers");
const GET: Method = Method::look(SERVICE, "doorward.v1.Groups.GetGroup");
const MEMBERS: Method = Method::look(SERVICE, "doorward.v1.Groups.ListMembers");
const LIST: Method = Method::look(SERVICE, "doorward.v1.Groups.ListGroups");

/// The longest display name, in characters.
pub const DISPLAY_NAME_LIMIT: usize = 100;
/// The longest description, in characters.
pub const DESCRIPTION_LIMIT: usize = 1024;
/// Members that come or go in one call, at most.
pub const MEMBERS_AT_ONCE: usize = 1000;

/// Groups that one member is in itself, at most. Google's is as large.
pub const GROUPS_OF_ONE_LIMIT: usize = 3000;

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

/// Why something was not done with a group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not an address.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// A text is too long, or has control characters, which would be shown to people.
    #[error("{field} has more than {limit} characters, or control characters")]
    Text {
        /// Which text.
        field: &'static str,
        /// The limit, in characters.
        limit: usize,
    },
    /// A text that is no member.
    #[error("{member:?} is not a member: {error}")]
    Member {
        /// As it was sent.
        member: String,
        /// Why.
        error: MemberError,
    },
    /// A member that a group cannot have.
    #[error("{0} cannot be in a group")]
    NoMember(Member),
    /// A member that is not there.
    #[error("{0} does not exist")]
    UnknownMember(Member),
    /// A group that cannot be put into this one.
    #[error("{member} cannot be in it: {error}")]
    Nesting {
        /// The group that would be inside.
        member: Member,
        /// Why.
        error: NestingError,
    },
    /// Too many members at once.
    #[error("at most {MEMBERS_AT_ONCE} members come or go in one call")]
    TooManyAtOnce,
    /// A member that is in as many groups as it may be.
    #[error(
        "{0} is in {GROUPS_OF_ONE_LIMIT} groups, and cannot be in more: put one of these groups into this one, or take it out of another"
    )]
    TooManyGroups(Member),
    /// The page token is none of ours.
    #[error("not a page token")]
    PageToken,
    /// The address is a group's, an account's or a person's.
    #[error("{0} is taken")]
    Taken(Email),
    /// There is no such group.
    #[error("no such group")]
    NotFound,
    /// It is no longer in the state that the caller read.
    #[error("the group was changed by somebody else")]
    Conflict,
    /// The store failed.
    #[error("could not read or write groups")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
}

impl Failure for GroupError {
    fn status(&self) -> Status {
        match self {
            GroupError::Admin(error) => error.status(),
            GroupError::Email(_)
            | GroupError::Text { .. }
            | GroupError::Member { .. }
            | GroupError::NoMember(_)
            | GroupError::UnknownMember(_)
            | GroupError::TooManyAtOnce
            | GroupError::PageToken => Status::InvalidArgument,
            GroupError::Nesting { .. } => Status::FailedPrecondition,
            GroupError::TooManyGroups(_) => Status::ResourceExhausted,
            GroupError::Taken(_) => Status::AlreadyExists,
            GroupError::NotFound => Status::NotFound,
            GroupError::Conflict => Status::Aborted,
            GroupError::Store(_) | GroupError::Refresh(_) => Status::Internal,
        }
    }
}

/// Some members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// In the order of their texts.
    pub members: Vec<String>,
    /// Gives the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// The groups. Methods take a group's address.
pub struct GroupService {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    /// Held from checking how groups are nested to writing it: two calls must not make a circle together.
    nesting: Arc<Mutex<()>>,
}

impl GroupService {
    /// Groups in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        GroupService { store, publisher, changes, nesting: Arc::default() }
    }

    /// Makes a group, with the members that are given.
    pub async fn create(&self, admin: &Admin, given: GroupResource) -> Result<GroupResource, GroupError> {
        let mut call = self.changes.begin(admin, CREATE, &group_name(&given.email))?;
        let outcome = async {
            self.enter(&mut call, Permission::CreateGroup).await?;
            let email: Email = given.email.parse()?;
            call.about(&group_name(email.as_str()));
            let group = read(email.clone(), &given, Etag::UNWRITTEN)?;
            if self.publisher.cell().current().account_by_email(&email).is_some() {
                return Err(GroupError::Taken(email));
            }
            let nesting = self.nesting.clone().lock_owned().await;
            let members = self.read_members(&email, &given.members)?;
            self.check_room(&email, &members).await?;
            call.creates(&GroupResource { members: texts(&members), ..show(&group) });
            let store = self.store.clone();
            let write = async move {
                let _nesting = nesting;
                let etag = store.add_group(&group).await?.ok_or(GroupError::Taken(email))?;
                for member in &members {
                    store.add_group_member(&group.email, member).await?;
                }
                Ok::<_, GroupError>(GroupResource { members: texts(&members), ..show(&Group { etag, ..group }) })
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One group, without its members: there may be very many.
    pub async fn get(&self, admin: &Admin, email: &str) -> Result<GroupResource, GroupError> {
        let mut call = self.changes.begin(admin, GET, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::GetGroup).await?;
            Ok(show(&self.find(email).await?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One page of a group's members: 100 if no size is asked for, and never more than 1,000.
    pub async fn members(
        &self,
        admin: &Admin,
        email: &str,
        page_size: Option<u32>,
        page_token: Option<&str>,
    ) -> Result<MembersPage, GroupError> {
        let mut call = self.changes.begin(admin, MEMBERS, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::GetGroup).await?;
            let group = self.find(email).await?;
            let after = token(page_token)?.map(|text| text.parse().map_err(|_| GroupError::PageToken)).transpose()?;
            let size = size_of(page_size);
            let mut members = self.store.group_members(&group.email, after.as_ref(), size + 1).await?;
            let next_page_token = cut(&mut members, size).map(|last| encode_base64url(last.to_string().as_bytes()));
            Ok(MembersPage { members: texts(&members), next_page_token })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One page of groups, in the order of their addresses.
    pub async fn list(
        &self,
        admin: &Admin,
        page_size: Option<u32>,
        page_token: Option<&str>,
    ) -> Result<ListGroupsResponse, GroupError> {
        let mut call = self.changes.begin(admin, LIST, "groups")?;
        let outcome = async {
            self.enter(&mut call, Permission::ListGroups).await?;
            let after = token(page_token)?.map(|text| text.parse().map_err(|_| GroupError::PageToken)).transpose()?;
            let size = size_of(page_size);
            let mut groups = self.store.groups(after.as_ref(), size + 1).await?;
            let last = cut(&mut groups, size);
            let next_page_token = last.map(|last| encode_base64url(last.email.as_str().as_bytes()));
            Ok(ListGroupsResponse { groups: groups.iter().map(show).collect(), next_page_token })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Replaces the texts of a group. Members stay.
    pub async fn update(&self, admin: &Admin, email: &str, given: GroupResource) -> Result<GroupResource, GroupError> {
        let mut call = self.changes.begin(admin, UPDATE, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::UpdateGroup).await?;
            let old = self.find(email).await?;
            let expected = etags::decode_text(&given.etag).map_err(|NoState| GroupError::Conflict)?;
            let group = read(old.email.clone(), &given, old.etag)?;
            call.changes(Some(&show(&old)), Some(&show(&group)));
            let store = self.store.clone();
            let write = async move {
                match store.replace_group(&group, expected).await? {
                    Replaced::Done(etag) => Ok(show(&Group { etag, ..group })),
                    Replaced::Stale => Err(GroupError::Conflict),
                    Replaced::NotFound => Err(GroupError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a group with its members, its places in other groups, and every mention of it in policies: a new group of the same
    /// address is another group.
    pub async fn delete(&self, admin: &Admin, email: &str) -> Result<(), GroupError> {
        let mut call = self.changes.begin(admin, DELETE, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::DeleteGroup).await?;
            let group = self.find(email).await?;
            call.removes(&show(&group));
            let store = self.store.clone();
            let write = async move {
                match store.remove_group(&group.email).await? {
                    true => Ok(()),
                    false => Err(GroupError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Puts members into a group. One who is there changes nothing.
    pub async fn add_members(&self, admin: &Admin, email: &str, members: &[String]) -> Result<(), GroupError> {
        let mut call = self.changes.begin(admin, ADD, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::UpdateGroup).await?;
            let group = self.find(email).await?.email;
            let nesting = self.nesting.clone().lock_owned().await;
            let members = self.read_members(&group, members)?;
            self.check_room(&group, &members).await?;
            call.creates(&json!({ "members": texts(&members) }));
            let store = self.store.clone();
            let write = async move {
                let _nesting = nesting;
                for member in &members {
                    let added = store.add_group_member(&group, member).await?;
                    if !added && store.group(&group).await?.is_none() {
                        return Err(GroupError::NotFound);
                    }
                }
                Ok(())
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Takes members out of a group. One who is not there changes nothing.
    pub async fn remove_members(&self, admin: &Admin, email: &str, members: &[String]) -> Result<(), GroupError> {
        let mut call = self.changes.begin(admin, REMOVE, &group_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::UpdateGroup).await?;
            let group = self.find(email).await?.email;
            if members.len() > MEMBERS_AT_ONCE {
                return Err(GroupError::TooManyAtOnce);
            }
            let members = members.iter().map(|text| read_member(text)).collect::<Result<Vec<_>, _>>()?;
            call.removes(&json!({ "members": texts(&members) }));
            let store = self.store.clone();
            let write = async move {
                for member in &members {
                    store.remove_group_member(&group, member).await?;
                }
                Ok(())
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn enter(&self, call: &mut Call<'_>, permission: Permission) -> Result<(), GroupError> {
        self.publisher.catch_up().await?;
        call.demand(permission, &Resource::Project)?;
        Ok(())
    }

    async fn find(&self, email: &str) -> Result<Group, GroupError> {
        let email: Email = email.parse().map_err(|_| GroupError::NotFound)?;
        self.store.group(&email).await?.ok_or(GroupError::NotFound)
    }

    /// Sees that members may be in one group more: each decision about them asks every group that they are in.
    async fn check_room(&self, group: &Email, members: &[Member]) -> Result<(), GroupError> {
        for member in members {
            let groups = self.store.groups_of_member(member).await?;
            if groups.len() >= GROUPS_OF_ONE_LIMIT && !groups.contains(group) {
                return Err(GroupError::TooManyGroups(member.clone()));
            }
        }
        Ok(())
    }

    /// Members that may be put into a group, all of them together.
    fn read_members(&self, group: &Email, texts: &[String]) -> Result<Vec<Member>, GroupError> {
        if texts.len() > MEMBERS_AT_ONCE {
            return Err(GroupError::TooManyAtOnce);
        }
        let snapshot = self.publisher.cell().current();
        let mut groups = snapshot.groups.clone();
        groups.add(group);
        let mut members = Vec::with_capacity(texts.len());
        for text in texts {
            let member = read_member(text)?;
            if !Group::takes(&member) {
                return Err(GroupError::NoMember(member));
            }
            let unknown = || GroupError::UnknownMember(member.clone());
            let there = match named_by(&member, &snapshot).map_err(|_| unknown())? {
                Some(Named::ServiceAccount(email)) => snapshot.service_account(&email).is_some(),
                Some(Named::Group(inner)) => {
                    let nested = groups.check_nesting(group, &inner);
                    nested.map_err(|error| GroupError::Nesting { member: member.clone(), error })?;
                    snapshot.groups.contains(&inner)
                }
                Some(Named::Pool(pool)) => snapshot.has_pool(&pool),
                Some(Named::ServiceAccountId(_) | Named::Application(_)) | None => true,
            };
            if !there {
                return Err(unknown());
            }
            groups.add_member(group, &member);
            members.push(member);
        }
        Ok(members)
    }
}

fn group_name(email: &str) -> String {
    format!("groups/{email}")
}

fn read_member(text: &str) -> Result<Member, GroupError> {
    let malformed = |error| GroupError::Member { member: escaped(text.as_bytes(), 254), error };
    text.parse().map_err(malformed)
}

fn texts(members: &[Member]) -> Vec<String> {
    members.iter().map(Member::to_string).collect()
}

fn read(email: Email, given: &GroupResource, etag: Etag) -> Result<Group, GroupError> {
    let check = |field, text: &str, limit| match text.chars().count() > limit || text.chars().any(char::is_control) {
        true => Err(GroupError::Text { field, limit }),
        false => Ok(text.to_owned()),
    };
    let display_name = check("displayName", &given.display_name, DISPLAY_NAME_LIMIT)?;
    let description = check("description", &given.description, DESCRIPTION_LIMIT)?;
    Ok(Group { email, display_name, description, etag })
}

fn show(group: &Group) -> GroupResource {
    GroupResource {
        email: group.email.to_string(),
        display_name: group.display_name.clone(),
        description: group.description.clone(),
        members: Vec::new(),
        etag: etags::encode_text(group.etag),
    }
}

fn size_of(asked: Option<u32>) -> u32 {
    asked.filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE).min(LARGEST_PAGE)
}

fn token(token: Option<&str>) -> Result<Option<String>, GroupError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    let bytes = decode_base64url(token).ok_or(GroupError::PageToken)?;
    String::from_utf8(bytes).map(Some).map_err(|_| GroupError::PageToken)
}

/// Cuts what is more than a page, and gives the last of the page if there is more.
fn cut<T>(items: &mut Vec<T>, size: u32) -> Option<&T> {
    let shown = usize::try_from(size).unwrap_or(usize::MAX);
    let more = items.len() > shown;
    items.truncate(shown);
    items.last().filter(|_| more)
}
