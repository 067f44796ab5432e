//! Tunnel destination groups: `gcloud iap tcp dest-groups`. Who reaches what is in one is for the policy of its resource to say;
//! the tunnel itself is not served yet.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.iap_tunnel.locations.destGroups>

use std::sync::Arc;

use doorward_core::dest_group::{DestGroup, DestGroupError, DestGroupName};
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::iap_admin::{ListTunnelDestGroupsResponse, PageQuery, TunnelDestGroup};
use doorward_wire::google_api::{FieldMask, FieldMaskError, Status};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method, Permitted};
use crate::etags::ATTEMPTS;
use crate::snapshots::{RefreshError, SnapshotPublisher};

const IAP: &str = "iap.googleapis.com";

macro_rules! method {
    ($kind:ident $name:literal) => {
        Method::$kind(IAP, concat!("google.cloud.iap.v1.IdentityAwareProxyAdminService.", $name))
    };
}

const LIST: Method = method!(read "ListTunnelDestGroups");
const CREATE: Method = method!(write_data "CreateTunnelDestGroup");
const GET: Method = method!(read "GetTunnelDestGroup");
const UPDATE: Method = method!(write_data "UpdateTunnelDestGroup");
const DELETE: Method = method!(write_data "DeleteTunnelDestGroup");

/// Stands for every location in a list.
const EVERYWHERE: &str = "-";

/// Destination groups of the project, at most: a list reads all of them.
pub const GROUPS_LIMIT: usize = 1000;

/// Why something was not done with a destination group.
#[derive(Debug, thiserror::Error)]
pub enum TunnelDestGroupError {
    /// The caller may not, or the name leads nowhere.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Its name, or what is to be in it.
    #[error(transparent)]
    Group(#[from] DestGroupError),
    /// The body names another group than the URL.
    #[error("the group is another one: {0:?}")]
    AnotherName(String),
    /// The mask names no field of a group, or its name.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// A page of a negative size.
    #[error("a page has no negative size")]
    PageSize,
    /// The page token is none of ours.
    #[error("not a page token")]
    PageToken,
    /// There is one of this name.
    #[error("there is a destination group {0}")]
    Exists(String),
    /// There are as many as there may be.
    #[error("there are at most {GROUPS_LIMIT} destination groups")]
    TooMany,
    /// There is none of this name.
    #[error("there is no destination group {0}")]
    NotFound(String),
    /// Others changed it again and again, between every reading and the writing after it.
    #[error("the destination group was changed by others")]
    Conflict,
    /// The store failed.
    #[error("could not read or write destination groups")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
}

impl Failure for TunnelDestGroupError {
    fn status(&self) -> Status {
        use TunnelDestGroupError as E;
        match self {
            E::Admin(error) => error.status(),
            E::Group(_) | E::AnotherName(_) | E::Mask(_) | E::PageSize | E::PageToken => Status::InvalidArgument,
            E::Exists(_) => Status::AlreadyExists,
            E::TooMany => Status::ResourceExhausted,
            E::NotFound(_) => Status::NotFound,
            E::Conflict => Status::Aborted,
            E::Store(_) | E::Refresh(_) => Status::Internal,
        }
    }
}

/// A location, or a group in it, as a URL names it.
#[derive(Debug, Clone, Copy)]
pub struct Location<'a> {
    /// The project's segment: its id or number.
    pub project: &'a str,
    /// The region. A list takes `-` for all.
    pub location: &'a str,
}

impl Location<'_> {
    fn name(&self) -> String {
        format!("projects/{}/iap_tunnel/locations/{}", self.project, self.location)
    }

    fn group(&self, id: &str) -> String {
        format!("{}/destGroups/{id}", self.name())
    }
}

/// The destination groups of the one project. There is no etag: of two who change one group at once, each changes what its mask
/// names, and the later one decides.
pub struct TunnelDestGroups {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
}

impl TunnelDestGroups {
    /// Groups in `store`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        TunnelDestGroups { store, publisher, changes }
    }

    /// A page of the groups of a location, or of all, in the order of locations and ids. For all of them the permission is demanded on
    /// all tunnels.
    pub async fn list(
        &self,
        admin: &Admin,
        at: Location<'_>,
        query: &PageQuery,
    ) -> Result<ListTunnelDestGroupsResponse, TunnelDestGroupError> {
        let all = at.location == EVERYWHERE;
        let place = if all { format!("projects/{}/iap_tunnel", at.project) } else { at.name() };
        let mut call = self.changes.begin(admin, LIST, &place)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.reach(&place, |_| Permission::ListTunnelDestGroups)?;
            let size = query.size().ok_or(TunnelDestGroupError::PageSize)?;
            let after = query.token().map(read_token).transpose()?;
            let mut groups = self.store.dest_groups((!all).then_some(at.location)).await?;
            groups.retain(|group| after.as_ref().is_none_or(|after| group.name > *after));
            let more = groups.len() > size;
            groups.truncate(size);
            Ok(ListTunnelDestGroupsResponse {
                next_page_token: groups.last().filter(|_| more).map(|last| write_token(&last.name)),
                tunnel_dest_groups: groups.iter().map(|group| self.show(group)).collect(),
            })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a group.
    pub async fn create(
        &self,
        admin: &Admin,
        at: Location<'_>,
        id: &str,
        new: TunnelDestGroup,
    ) -> Result<TunnelDestGroup, TunnelDestGroupError> {
        let mut call = self.changes.begin(admin, CREATE, &at.group(id))?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.reach(&at.name(), |_| Permission::CreateTunnelDestGroup)?;
            let name = DestGroupName::new(at.location, id)?;
            self.check_name(&new.name, &name)?;
            let group = DestGroup::read(name, &new.cidrs, &new.fqdns)?;
            let shown = self.show(&group);
            call.about(&shown.name);
            call.creates(&shown);
            if self.store.dest_groups(None).await?.len() >= GROUPS_LIMIT {
                return Err(TunnelDestGroupError::TooMany);
            }
            match self.store.add_dest_group(&group).await? {
                true => Ok(shown),
                false => Err(TunnelDestGroupError::Exists(shown.name)),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The group of this name.
    pub async fn get(
        &self,
        admin: &Admin,
        at: Location<'_>,
        id: &str,
    ) -> Result<TunnelDestGroup, TunnelDestGroupError> {
        let mut call = self.changes.begin(admin, GET, &at.group(id))?;
        let outcome = async {
            let on = self.reach(&mut call, at, id, Permission::GetTunnelDestGroup).await?;
            Ok(self.show(&self.find(&on).await?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what `mask` names of a group; without one, everything. Its name stays.
    pub async fn update(
        &self,
        admin: &Admin,
        at: Location<'_>,
        id: &str,
        given: TunnelDestGroup,
        mask: &str,
    ) -> Result<TunnelDestGroup, TunnelDestGroupError> {
        let mut call = self.changes.begin(admin, UPDATE, &at.group(id))?;
        let outcome = async {
            let on = self.reach(&mut call, at, id, Permission::UpdateTunnelDestGroup).await?;
            let mask = FieldMask::parse(mask, TunnelDestGroup::MESSAGE, &TunnelDestGroup::PATHS)?;
            for _ in 0..ATTEMPTS {
                let seen = self.find(&on).await?;
                self.check_name(&given.name, &seen.name)?;
                let mut next = self.show(&seen);
                if mask.touches("cidrs") {
                    next.cidrs.clone_from(&given.cidrs);
                }
                if mask.touches("fqdns") {
                    next.fqdns.clone_from(&given.fqdns);
                }
                let group = DestGroup::read(seen.name.clone(), &next.cidrs, &next.fqdns)?;
                let shown = self.show(&group);
                call.changes(Some(&self.show(&seen)), Some(&shown));
                if self.store.replace_dest_group(&seen, &group).await? {
                    return Ok(shown);
                }
            }
            Err(TunnelDestGroupError::Conflict)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a group, and the policy of its resource with it: whoever is made under its name has nothing of what was given to it.
    pub async fn delete(&self, admin: &Admin, at: Location<'_>, id: &str) -> Result<(), TunnelDestGroupError> {
        let mut call = self.changes.begin(admin, DELETE, &at.group(id))?;
        let outcome = async {
            let on = self.reach(&mut call, at, id, Permission::DeleteTunnelDestGroup).await?;
            let group = self.find(&on).await?;
            call.removes(&self.show(&group));
            let (store, resource) = (self.store.clone(), on.name().to_owned());
            // The policy may be in force.
            let write = async move {
                match store.remove_dest_group(&group.name, &resource).await? {
                    true => Ok(()),
                    false => Err(TunnelDestGroupError::NotFound(resource)),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn reach(
        &self,
        call: &mut Call<'_>,
        at: Location<'_>,
        id: &str,
        permission: Permission,
    ) -> Result<Permitted, TunnelDestGroupError> {
        self.publisher.catch_up().await?;
        Ok(call.reach(&at.group(id), |_| permission)?)
    }

    /// The group of a resource. Of no other resource, and of none whose name no group can have, is there one.
    async fn find(&self, on: &Permitted) -> Result<DestGroup, TunnelDestGroupError> {
        let missing = || TunnelDestGroupError::NotFound(on.name().to_owned());
        let Resource::TunnelDestGroup(location, id) = on.resource() else { return Err(missing()) };
        let name = DestGroupName::new(location, id).map_err(|_| missing())?;
        self.store.dest_group(&name).await?.ok_or_else(missing)
    }

    /// Sees whether a body names this group, if it names any: by its id alone, as gcloud does, or by the whole name.
    fn check_name(&self, written: &str, name: &DestGroupName) -> Result<(), TunnelDestGroupError> {
        let snapshot = self.changes.gate().snapshot();
        let is_it = || snapshot.resource(written).is_ok_and(|named| named == name.resource());
        match written.is_empty() || written == name.id() || is_it() {
            true => Ok(()),
            false => Err(TunnelDestGroupError::AnotherName(written.to_owned())),
        }
    }

    fn show(&self, group: &DestGroup) -> TunnelDestGroup {
        TunnelDestGroup {
            name: group.name.resource().name(self.publisher.project()),
            cidrs: group.cidrs.iter().map(ToString::to_string).collect(),
            fqdns: group.fqdns.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `LOCATION/ID` of the last group of a page.
fn write_token(name: &DestGroupName) -> String {
    format!("{}/{}", name.location(), name.id())
}

fn read_token(text: &str) -> Result<DestGroupName, TunnelDestGroupError> {
    let (location, id) = text.split_once('/').ok_or(TunnelDestGroupError::PageToken)?;
    DestGroupName::new(location, id).map_err(|_| TunnelDestGroupError::PageToken)
}
