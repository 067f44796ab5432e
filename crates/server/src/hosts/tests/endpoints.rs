//! Every endpoint of administration, with what it answers to those who may not, and to what is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;

/// What a row says of an endpoint.
struct Row {
    /// The file below `hosts`, and the handler in it.
    handler: &'static str,
    method: &'static str,
    /// Names something that is not there, if it names anything.
    path: &'static str,
    /// A body that can be read, if the endpoint reads one.
    body: Option<&'static str>,
    /// To an account that holds nothing.
    to_stranger: u16,
    /// To the operator.
    to_operator: u16,
}

const fn row(
    handler: &'static str,
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    (to_stranger, to_operator): (u16, u16),
) -> Row {
    Row { handler, method, path, body, to_stranger, to_operator }
}

/// A policy that nobody can write.
const POLICY: Option<&str> = Some(r#"{"policy": {"version": 2}}"#);
const EMPTY: Option<&str> = Some("{}");

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("appengine_googleapis_com show",      "GET",    "/appengine.googleapis.com/v1/apps/p",                None,  (403, 404)),
    row("appengine_googleapis_com show",      "GET",    "/appengine.googleapis.com/v1/apps/none",             None,  (403, 404)),
    row("appengine_googleapis_com update",    "PATCH",  "/appengine.googleapis.com/v1/apps/p?updateMask=iap", EMPTY, (403, 404)),
    row("appengine_googleapis_com operation", "GET",    "/appengine.googleapis.com/v1/apps/p/operations/1",   None,  (403, 404)),

    row("cloudresourcemanager_googleapis_com list_v1",   "GET", "/cloudresourcemanager.googleapis.com/v1/projects",                      None, (200, 200)),
    row("cloudresourcemanager_googleapis_com list_v1",   "GET", "/cloudresourcemanager.googleapis.com/v1/projects?filter=x",             None, (400, 400)),
    row("cloudresourcemanager_googleapis_com show_v1",   "GET", "/cloudresourcemanager.googleapis.com/v1/projects/p",                    None, (403, 200)),
    row("cloudresourcemanager_googleapis_com show_v1",   "GET", "/cloudresourcemanager.googleapis.com/v1/projects/none",                 None, (403, 404)),
    row("cloudresourcemanager_googleapis_com list_v3",   "GET", "/cloudresourcemanager.googleapis.com/v3/projects?parent=folders/9",     None, (403, 404)),
    row("cloudresourcemanager_googleapis_com search_v3", "GET", "/cloudresourcemanager.googleapis.com/v3/projects:search",               None, (200, 200)),
    row("cloudresourcemanager_googleapis_com show_v3",   "GET", "/cloudresourcemanager.googleapis.com/v3/projects/none",                 None, (403, 404)),
    row("cloudresourcemanager_googleapis_com call_project", "POST", "/cloudresourcemanager.googleapis.com/v1/projects/none:getAncestry",        EMPTY,  (403, 404)),
    row("cloudresourcemanager_googleapis_com call_project", "POST", "/cloudresourcemanager.googleapis.com/v1/projects/none:getIamPolicy",       EMPTY,  (403, 404)),
    row("cloudresourcemanager_googleapis_com call_project", "POST", "/cloudresourcemanager.googleapis.com/v3/projects/none:setIamPolicy",       POLICY, (403, 404)),
    row("cloudresourcemanager_googleapis_com call_project", "POST", "/cloudresourcemanager.googleapis.com/v3/projects/none:testIamPermissions", EMPTY,  (200, 200)),
    row("cloudresourcemanager_googleapis_com call_folder",  "POST", "/cloudresourcemanager.googleapis.com/v2/folders/9:getIamPolicy",           EMPTY,  (403, 404)),
    row("cloudresourcemanager_googleapis_com call_folder",  "POST", "/cloudresourcemanager.googleapis.com/v3/folders/9:setIamPolicy",           POLICY, (403, 404)),
    row("cloudresourcemanager_googleapis_com call_folder",  "POST", "/cloudresourcemanager.googleapis.com/v2/folders/9:testIamPermissions",     EMPTY,  (200, 200)),
    row("cloudresourcemanager_googleapis_com call_organization", "POST", "/cloudresourcemanager.googleapis.com/v1/organizations/9:getIamPolicy", EMPTY,  (403, 404)),
    row("cloudresourcemanager_googleapis_com call_organization", "POST", "/cloudresourcemanager.googleapis.com/v3/organizations/9:setIamPolicy", POLICY, (403, 404)),
    row("cloudresourcemanager_googleapis_com call_organization", "POST", "/cloudresourcemanager.googleapis.com/v1/organizations/9:testIamPermissions", EMPTY, (200, 200)),

    row("compute_googleapis_com list",       "GET",    "/compute.googleapis.com/compute/v1/projects/none/global/backendServices",        None,  (403, 404)),
    row("compute_googleapis_com list",       "GET",    "/compute.googleapis.com/compute/v1/projects/none/regions/r/backendServices",     None,  (403, 404)),
    row("compute_googleapis_com aggregated", "GET",    "/compute.googleapis.com/compute/v1/projects/none/aggregated/backendServices",    None,  (403, 404)),
    row("compute_googleapis_com insert",     "POST",   "/compute.googleapis.com/compute/v1/projects/none/global/backendServices",        EMPTY, (403, 404)),
    row("compute_googleapis_com insert",     "POST",   "/compute.googleapis.com/compute/v1/projects/p/global/backendServices",           EMPTY, (403, 400)),
    row("compute_googleapis_com show",       "GET",    "/compute.googleapis.com/compute/v1/projects/p/global/backendServices/none",      None,  (403, 404)),
    row("compute_googleapis_com show",       "GET",    "/compute.googleapis.com/compute/v1/projects/p/regions/r/backendServices/app",    None,  (403, 404)),
    row("compute_googleapis_com patch",      "PATCH",  "/compute.googleapis.com/compute/v1/projects/p/global/backendServices/none",      EMPTY, (403, 404)),
    row("compute_googleapis_com update",     "PUT",    "/compute.googleapis.com/compute/v1/projects/p/global/backendServices/none",      EMPTY, (403, 404)),
    row("compute_googleapis_com remove",     "DELETE", "/compute.googleapis.com/compute/v1/projects/p/global/backendServices/none",      None,  (403, 404)),
    row("compute_googleapis_com operation",  "GET",    "/compute.googleapis.com/compute/v1/projects/p/global/operations/none",           None,  (403, 404)),
    row("compute_googleapis_com operation",  "POST",   "/compute.googleapis.com/compute/v1/projects/p/regions/r/operations/none/wait",   None,  (403, 404)),

    row("compute_googleapis_com batch::batch", "POST",   "/compute.googleapis.com/batch/compute/v1",                                     None,  (400, 400)),

    row("iam_googleapis_com list",        "GET",    "/iam.googleapis.com/v1/projects/none/serviceAccounts",                              None,   (403, 404)),
    row("iam_googleapis_com create",      "POST",   "/iam.googleapis.com/v1/projects/none/serviceAccounts",                              Some(r#"{"accountId": "account1"}"#), (403, 404)),
    row("iam_googleapis_com show",        "GET",    "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com",  None,   (403, 404)),
    row("iam_googleapis_com patch",       "PATCH",  "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com",  EMPTY,  (403, 404)),
    row("iam_googleapis_com update",      "PUT",    "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com",  EMPTY,  (403, 404)),
    row("iam_googleapis_com remove",      "DELETE", "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com",  None,   (403, 404)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com:disable",            None,   (403, 404)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com:enable",             None,   (403, 404)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com:getIamPolicy",       EMPTY,  (403, 404)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com:setIamPolicy",       POLICY, (403, 404)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com:testIamPermissions", EMPTY,  (200, 200)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/1:undelete",                                        None,   (501, 501)),
    row("iam_googleapis_com call",        "POST",   "/iam.googleapis.com/v1/projects/-/serviceAccounts/100000000000000000001:undelete",                  None,   (501, 501)),
    row("iam_googleapis_com list_keys",   "GET",    "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com/keys",               None,   (403, 404)),
    row("iam_googleapis_com create_key",  "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/none@p.iam.gserviceaccount.com/keys",               EMPTY,  (403, 404)),
    row("iam_googleapis_com show_key",    "GET",    "/iam.googleapis.com/v1/projects/p/serviceAccounts/caller@p.iam.gserviceaccount.com/keys/none",        None,   (403, 404)),
    row("iam_googleapis_com show_key",    "GET",    "/iam.googleapis.com/v1/projects/p/serviceAccounts/caller@p.iam.gserviceaccount.com/keys/none?publicKeyType=TYPE_X509_PEM_FILE", None, (403, 404)),
    row("iam_googleapis_com remove_key",  "DELETE", "/iam.googleapis.com/v1/projects/p/serviceAccounts/caller@p.iam.gserviceaccount.com/keys/none",        None,   (403, 404)),
    row("iam_googleapis_com call_key",    "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/caller@p.iam.gserviceaccount.com/keys/none:disable", None,  (403, 404)),
    row("iam_googleapis_com call_key",    "POST",   "/iam.googleapis.com/v1/projects/p/serviceAccounts/caller@p.iam.gserviceaccount.com/keys/none:enable",  None,  (403, 404)),

    row("iam_googleapis_com/deny_policies list",      "GET",    "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fnone/denypolicies",   None,  (403, 400)),
    row("iam_googleapis_com/deny_policies list",      "GET",    "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%252Fprojects%252Fp/denypolicies",  None,  (403, 200)),
    row("iam_googleapis_com/deny_policies create",    "POST",   "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies?policyId=N", EMPTY, (403, 400)),
    row("iam_googleapis_com/deny_policies show",      "GET",    "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies/none", None,  (403, 404)),
    row("iam_googleapis_com/deny_policies update",    "PUT",    "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies/none", EMPTY, (403, 404)),
    row("iam_googleapis_com/deny_policies remove",    "DELETE", "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies/none", None,  (403, 404)),
    row("iam_googleapis_com/deny_policies operation", "GET",    "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp/denypolicies/none/operations/done", None, (403, 200)),

    row("iam_googleapis_com/roles list_predefined", "GET",    "/iam.googleapis.com/v1/roles",                            None,  (200, 200)),
    row("iam_googleapis_com/roles show_predefined", "GET",    "/iam.googleapis.com/v1/roles/none",                       None,  (404, 404)),
    row("iam_googleapis_com/roles grantable",       "POST",   "/iam.googleapis.com/v1/roles:queryGrantableRoles",        Some(r#"{"fullResourceName": "//cloudresourcemanager.googleapis.com/projects/none"}"#), (403, 404)),
    row("iam_googleapis_com/roles testable",        "POST",   "/iam.googleapis.com/v1/permissions:queryTestablePermissions", Some(r#"{"fullResourceName": "//cloudresourcemanager.googleapis.com/projects/none"}"#), (403, 404)),
    row("iam_googleapis_com/roles list",            "GET",    "/iam.googleapis.com/v1/projects/none/roles",              None,  (403, 404)),
    row("iam_googleapis_com/roles list",            "GET",    "/iam.googleapis.com/v1/organizations/9/roles",            None,  (403, 404)),
    row("iam_googleapis_com/roles create",          "POST",   "/iam.googleapis.com/v1/projects/none/roles",              EMPTY, (403, 404)),
    row("iam_googleapis_com/roles show",            "GET",    "/iam.googleapis.com/v1/projects/p/roles/none",            None,  (403, 404)),
    row("iam_googleapis_com/roles update",          "PATCH",  "/iam.googleapis.com/v1/projects/p/roles/none",            EMPTY, (403, 404)),
    row("iam_googleapis_com/roles remove",          "DELETE", "/iam.googleapis.com/v1/projects/p/roles/none",            None,  (403, 404)),
    row("iam_googleapis_com/roles call",            "POST",   "/iam.googleapis.com/v1/organizations/1/roles/none:undelete", EMPTY, (403, 404)),

    row("iam_googleapis_com/workload_identity_pools list_pools",         "GET",    "/iam.googleapis.com/v1/projects/none/locations/global/workloadIdentityPools",                       None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools create_pool",        "POST",   "/iam.googleapis.com/v1/projects/none/locations/global/workloadIdentityPools",                       EMPTY, (403, 404)),
    row("iam_googleapis_com/workload_identity_pools show_pool",          "GET",    "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none",                     None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools update_pool",        "PATCH",  "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none",                     EMPTY, (403, 404)),
    row("iam_googleapis_com/workload_identity_pools delete_pool",        "DELETE", "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none",                     None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools pool_operation",     "GET",    "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/operations/done",     None,  (403, 200)),
    row("iam_googleapis_com/workload_identity_pools list_providers",     "GET",    "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/providers",           None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools create_provider",    "POST",   "/iam.googleapis.com/v1/projects/none/locations/global/workloadIdentityPools/none/providers",        EMPTY, (403, 404)),
    row("iam_googleapis_com/workload_identity_pools show_provider",      "GET",    "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/providers/none",      None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools update_provider",    "PATCH",  "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/providers/none",      EMPTY, (403, 404)),
    row("iam_googleapis_com/workload_identity_pools delete_provider",    "DELETE", "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/providers/none",      None,  (403, 404)),
    row("iam_googleapis_com/workload_identity_pools provider_operation", "GET",    "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools/none/providers/none/operations/done", None, (403, 200)),

    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:getIamPolicy",       EMPTY,  (403, 404)),
    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:setIamPolicy",       POLICY, (403, 404)),
    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/app:setIamPolicy",        POLICY, (403, 400)),
    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:testIamPermissions", EMPTY,  (200, 200)),
    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/topics/t:getIamPolicy",                            EMPTY,  (400, 400)),
    row("iap_googleapis_com call",            "POST",   "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:validateAttributeExpression?expression=x", None, (403, 404)),
    row("iap_googleapis_com settings::show",  "GET",    "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:iapSettings",        None,   (403, 404)),
    row("iap_googleapis_com settings::update", "PATCH", "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/none:iapSettings",        EMPTY,  (403, 404)),
    row("iap_googleapis_com/dest_groups list",        "GET",     "/iap.googleapis.com/v1/projects/none/iap_tunnel/locations/-/destGroups",                               None, (403, 404)),
    row("iap_googleapis_com/dest_groups list",        "GET",     "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups",                                  None, (403, 200)),
    row("iap_googleapis_com/dest_groups create",      "POST",    "/iap.googleapis.com/v1/projects/none/iap_tunnel/locations/r/destGroups?tunnelDestGroupId=none",        EMPTY, (403, 404)),
    row("iap_googleapis_com/dest_groups create",      "POST",    "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups?tunnelDestGroupId=N",              EMPTY, (403, 400)),
    row("iap_googleapis_com/dest_groups show",        "GET",     "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups/none",                             None, (403, 404)),
    row("iap_googleapis_com/dest_groups update",      "PATCH",   "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups/none?updateMask=cidrs",            EMPTY, (403, 404)),
    row("iap_googleapis_com/dest_groups remove",      "DELETE",  "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups/none",                             None, (403, 404)),
    row("iap_googleapis_com/dest_groups call_group",  "POST",    "/iap.googleapis.com/v1/projects/none/iap_tunnel/locations/r/destGroups/none:getIamPolicy",             EMPTY, (403, 404)),
    row("iap_googleapis_com/dest_groups call_group",  "POST",    "/iap.googleapis.com/v1/projects/p/iap_tunnel/locations/r/destGroups/none:setIamPolicy",                POLICY, (403, 400)),
    row("iap_googleapis_com/dest_groups call_group",  "POST",    "/iap.googleapis.com/v1/projects/none/iap_tunnel/locations/r/destGroups/none:testIamPermissions",       EMPTY, (200, 200)),
    row("iap_googleapis_com/brands list",          "GET",    "/iap.googleapis.com/v1/projects/none/brands",                                     None,  (403, 404)),
    row("iap_googleapis_com/brands create",        "POST",   "/iap.googleapis.com/v1/projects/none/brands",                                     EMPTY, (403, 404)),
    row("iap_googleapis_com/brands show",          "GET",    "/iap.googleapis.com/v1/projects/p/brands/none",                                   None,  (403, 404)),
    row("iap_googleapis_com/brands list_clients",  "GET",    "/iap.googleapis.com/v1/projects/p/brands/none/identityAwareProxyClients",         None,  (403, 404)),
    row("iap_googleapis_com/brands create_client", "POST",   "/iap.googleapis.com/v1/projects/p/brands/none/identityAwareProxyClients",         EMPTY, (403, 404)),
    row("iap_googleapis_com/brands show_client",   "GET",    "/iap.googleapis.com/v1/projects/p/brands/none/identityAwareProxyClients/none",    None,  (403, 404)),
    row("iap_googleapis_com/brands remove_client", "DELETE", "/iap.googleapis.com/v1/projects/p/brands/none/identityAwareProxyClients/none",    None,  (403, 404)),
    row("iap_googleapis_com/brands call_client",   "POST",   "/iap.googleapis.com/v1/projects/p/brands/none/identityAwareProxyClients/none:resetSecret", EMPTY, (403, 404)),

    row("own/access_levels list",    "GET",    "/doorward/v1/accessLevels",                            None,  (403, 200)),
    row("own/access_levels create",  "POST",   "/doorward/v1/accessLevels",                            EMPTY, (403, 400)),
    row("own/access_levels show",    "GET",    "/doorward/v1/accessPolicies/123/accessLevels/none",    None,  (403, 404)),
    row("own/access_levels update",  "PATCH",  "/doorward/v1/accessPolicies/123/accessLevels/none",    Some(r#"{"title": "t", "basic": {"ipSubnetworks": ["10.0.0.0/8"]}}"#), (403, 404)),
    row("own/access_levels remove",  "DELETE", "/doorward/v1/accessPolicies/123/accessLevels/none",    None,  (403, 404)),
    row("own/applications list",     "GET",    "/doorward/v1/applications",                            None,  (403, 200)),
    row("own/applications create",   "POST",   "/doorward/v1/applications",                            EMPTY, (403, 400)),
    row("own/applications show",     "GET",    "/doorward/v1/applications/none",                       None,  (403, 404)),
    row("own/applications update",   "PATCH",  "/doorward/v1/applications/none",                       EMPTY, (403, 404)),
    row("own/applications remove",   "DELETE", "/doorward/v1/applications/none",                       None,  (403, 404)),
    row("own/applications call",     "POST",   "/doorward/v1/applications/none:enable",                None,  (403, 404)),
    row("own/applications call",     "POST",   "/doorward/v1/applications/none:disable",               None,  (403, 404)),
    row("own/audit list",            "GET",    "/doorward/v1/auditEntries",                            None,  (403, 200)),
    row("own/audit verify",          "GET",    "/doorward/v1/auditEntries:verify",                     None,  (403, 200)),
    row("own/audit sinks",           "GET",    "/doorward/v1/auditSinks",                              None,  (403, 200)),
    row("own/decisions decisions",   "GET",    "/decisions",                                           None,  (403, 200)),
    row("own/decisions decision",    "GET",    "/decisions/none",                                      None,  (403, 404)),
    row("own/groups list",           "GET",    "/doorward/v1/groups",                                  None,  (403, 200)),
    row("own/groups create",         "POST",   "/doorward/v1/groups",                                  EMPTY, (403, 400)),
    row("own/groups show",           "GET",    "/doorward/v1/groups/none@example.com",                 None,  (403, 404)),
    row("own/groups update",         "PATCH",  "/doorward/v1/groups/none@example.com",                 EMPTY, (403, 404)),
    row("own/groups remove",         "DELETE", "/doorward/v1/groups/none@example.com",                 None,  (403, 404)),
    row("own/groups members",        "GET",    "/doorward/v1/groups/none@example.com/members",         None,  (403, 404)),
    row("own/groups call",           "POST",   "/doorward/v1/groups/none@example.com:addMembers",      EMPTY, (403, 404)),
    row("own/groups call",           "POST",   "/doorward/v1/groups/none@example.com:removeMembers",   EMPTY, (403, 404)),
    row("own/keys list",             "GET",    "/v1/keys",                                             None,  (403, 200)),
    row("own/keys list",             "GET",    "/doorward/v1/keys",                                    None,  (403, 200)),
    row("own/keys rotate",           "POST",   "/doorward/v1/keys:rotate",                             Some(r#"{"purpose": "none"}"#), (403, 400)),
    row("own/oauth_clients list",    "GET",    "/doorward/v1/oauthClients",                            None,  (403, 200)),
    row("own/oauth_clients create",  "POST",   "/doorward/v1/oauthClients",                            Some(r#"{"type": "web"}"#), (403, 400)),
    row("own/oauth_clients show",    "GET",    "/doorward/v1/oauthClients/none",                       None,  (403, 404)),
    row("own/oauth_clients remove",  "DELETE", "/doorward/v1/oauthClients/none",                       None,  (403, 404)),
    row("own/oauth_clients call",    "POST",   "/doorward/v1/oauthClients/none:resetSecret",           None,  (403, 404)),
    row("own/questions explain",     "POST",   "/doorward/v1:explain",                                 Some(r#"{"decisionId": "none"}"#), (403, 404)),
    row("own/questions who_can",     "POST",   "/doorward/v1:whoCan",                                  Some(r#"{"question": {"resource": "projects/none"}}"#), (403, 404)),
    row("own/questions what_can",    "POST",   "/doorward/v1:whatCan",                                 EMPTY, (403, 400)),
    row("own/questions simulate",    "POST",   "/doorward/v1:simulate",                                Some(r#"{"since": "yesterday"}"#), (403, 400)),
    row("own/users list",            "GET",    "/doorward/v1/users",                                   None,  (403, 200)),
    row("own/users create",          "POST",   "/doorward/v1/users",                                   EMPTY, (403, 400)),
    row("own/users show",            "GET",    "/doorward/v1/users/none@example.com",                  None,  (403, 404)),
    row("own/users remove",          "DELETE", "/doorward/v1/users/none@example.com",                  None,  (403, 404)),
    row("own/users call",            "POST",   "/doorward/v1/users/none@example.com:setPassword",      None,  (403, 404)),
    row("own/users call",            "POST",   "/doorward/v1/users/none@example.com:disable",          None,  (403, 404)),
    row("own/users call",            "POST",   "/doorward/v1/users/none@example.com:enable",           None,  (403, 404)),
    // What one may not see is not in it.
    row("own/world export",          "GET",    "/doorward/v1/world",                                   None,  (200, 200)),
    row("own/world apply",           "POST",   "/doorward/v1/world:apply",                             Some(r#"{"file": {"groups": []}}"#), (403, 200)),
];

/// Files whose endpoints administer nothing: they give, take and show tokens, or what anybody may see.
const NOT_OF_ADMINISTRATION: [&str; 9] = [
    "accounts_google_com",
    "iamcredentials_googleapis_com",
    "oauth2_googleapis_com",
    "openidconnect_googleapis_com",
    "own", // The authorization server. What is below it counts.
    "sdk_cloud_google_com",
    "sts_googleapis_com",
    "www_googleapis_com",
    "www_gstatic_com",
];

/// An endpoint: `FILE HANDLER`, or `FILE HANDLER :METHOD` where the handler looks for the method at the end of the path.
type Endpoint = String;

/// Every endpoint that a route of these files leads to.
fn endpoints() -> BTreeSet<Endpoint> {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/hosts");
    let policies = fs::read_to_string(hosts.join("policies.rs")).unwrap();
    let mut sources = BTreeMap::new();
    read_sources(&hosts, "", &mut sources);
    let mut found = BTreeSet::new();
    for (file, source) in &sources {
        for handler in routed(source) {
            let endpoint = format!("{file} {handler}");
            // `settings::show` is in the file `settings` below.
            let methods = match handler.split_once("::") {
                Some((module, handler)) => methods(&sources[&format!("{file}/{module}")], handler, &policies),
                None => methods(source, handler, &policies),
            };
            if methods.is_empty() {
                found.insert(endpoint);
            } else {
                found.extend(methods.into_iter().map(|method| format!("{endpoint} :{method}")));
            }
        }
    }
    found
}

fn read_sources(folder: &Path, prefix: &str, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = format!("{prefix}{stem}");
        if path.is_dir() && stem != "tests" && stem != "accounts_google_com" {
            read_sources(&path, &format!("{name}/"), sources);
        } else if path.extension().is_some_and(|it| it == "rs") && !NOT_OF_ADMINISTRATION.contains(&name.as_str()) {
            sources.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// `list` and `create` of `get(list).post(create)`, in the functions that make routers.
fn routed(source: &str) -> Vec<&str> {
    let makes_routes = |function: &&str| function.lines().next().is_some_and(|head| head.ends_with("() -> Routes {"));
    let mut found = Vec::new();
    for router in source.split("fn ").filter(makes_routes) {
        let router = &router[..router.find("\n}\n").unwrap_or(router.len())];
        for method in ["get(", "post(", "patch(", "put(", "delete("] {
            for (place, _) in router.match_indices(method) {
                let whole = !router[..place].ends_with(|before: char| before.is_alphanumeric() || before == '_');
                let handler = router[place + method.len()..].split_once(')').filter(|_| whole);
                found.extend(handler.map(|(handler, _)| handler));
            }
        }
    }
    found
}

/// The methods that a handler looks for: `"enable" =>` or `Some((name, "enable")) =>` in a match, `strip_suffix(":undelete")`, and
/// those of the functions to which it gives the call.
fn methods(source: &str, handler: &str, policies: &str) -> BTreeSet<String> {
    let begin = source.find(&format!("fn {handler}(")).unwrap_or_else(|| panic!("there is no function {handler}"));
    let body = &source[begin..];
    let body = &body[..body.find("\n}\n").unwrap_or(body.len())];
    let arms = body.match_indices("=>").filter_map(|(place, _)| {
        body[..place].trim_end().trim_end_matches(')').strip_suffix('"')?.rsplit_once('"').map(|(_, word)| word)
    });
    let suffixes = body.split("strip_suffix(\":").skip(1).filter_map(|rest| rest.split('"').next());
    let mut found: BTreeSet<String> = arms.chain(suffixes).map(str::to_owned).collect();
    if body.contains("policies::call(") {
        found.extend(methods(policies, "call", ""));
    }
    if handler != "call_above" && body.contains("call_above(") {
        found.extend(methods(source, "call_above", policies));
    }
    found
}

impl Row {
    /// The endpoint of this row: with its method, if its handler looks for one.
    fn endpoint(&self, endpoints: &BTreeSet<Endpoint>) -> Endpoint {
        let path = self.path.split('?').next().unwrap_or_default();
        let with_method = path.rsplit_once(':').map(|(_, method)| format!("{} :{method}", self.handler));
        with_method.filter(|it| endpoints.contains(it)).unwrap_or_else(|| self.handler.to_owned())
    }
}

#[test]
fn every_endpoint_of_administration_has_a_row() {
    let endpoints = endpoints();
    assert!(endpoints.len() > 120, "the routers are not found: {endpoints:?}");
    let rows: BTreeSet<Endpoint> = ROWS.iter().map(|row| row.endpoint(&endpoints)).collect();
    let missing: Vec<_> = endpoints.difference(&rows).collect();
    assert!(missing.is_empty(), "give each of these a row: {missing:?}");
    // What is not served is answered by a handler that looks for a method, too.
    let gone = |it: &&Endpoint| !endpoints.iter().any(|known| known.starts_with(&format!("{it} :")));
    let gone: Vec<_> = rows.difference(&endpoints).filter(gone).collect();
    assert!(gone.is_empty(), "nothing leads to these: {gone:?}");
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential_and_the_permission_and_what_is_not_there_is_told_to_few() {
    let world = World::new().await;
    let (admin, cloud, narrow) = (bearer(ADMIN), bearer(CLOUD_TOKEN), bearer(NARROW_TOKEN));
    let mut wrong = Vec::new();
    for Row { handler, method, path, body, to_stranger, to_operator } in ROWS {
        let good = body.unwrap_or_default();
        let broken = r#"{"a": "#;
        #[rustfmt::skip]
        let mut cases = vec![
            (None,                   good,   401),
            (None,                   broken, 401),
            (Some("Bearer wrong"),   broken, 401),
            (Some(narrow.as_str()),  broken, 403),
            (Some(cloud.as_str()),   good,   *to_stranger),
            (Some(admin.as_str()),   good,   *to_operator),
        ];
        if body.is_some() {
            cases.push((Some(&admin), broken, 400));
            cases.push((Some(&admin), "[]", 400));
            cases.push((Some(&admin), r#"{"a": 1, "a": 2}"#, 400));
        }
        for (credential, body, expected) in cases {
            let fields: Vec<_> = credential.map(|it| ("authorization", it)).into_iter().collect();
            let answer = world.call(method.parse().unwrap(), path, &fields, body).await;
            let is_error = answer.status.is_client_error() || answer.status.is_server_error();
            let shaped = !is_error || answer.json()["error"]["code"] == answer.status.as_u16();
            if answer.status.as_u16() != expected || !shaped {
                let who = credential.unwrap_or("nobody");
                wrong.push(format!(
                    "{handler}: {method} {path} {who} {body}: {} not {expected}: {}",
                    answer.status, answer.body
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
